// node --test tests/viewer: the logic of the view, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { explain, keptApart, ruleOf, spanAt, spansWithin, topTokens } from "../../asr_core/viewer/static/rules.mjs";
import { decode } from "../../asr_core/viewer/static/payload.mjs";
import { deflateSync } from "node:zlib";

const labels = ["'", " ", ..."abcdefghijklmnopqrstuvwxyz", "<blank>"];
const BLANK = 28;
const ids = (text) => [...text].map((c) => (c === "_" ? BLANK : labels.indexOf(c)));

test("each frame is kept, merged or dropped", () => {
  const path = ids("hhe_l_lo_");
  const rules = path.map((_, frame) => ruleOf(path, BLANK, frame));
  assert.deepEqual(rules, ["kept", "merged", "kept", "dropped", "kept", "dropped", "kept", "kept", "dropped"]);
});

test("the kept frames spell the collapsed text", () => {
  const path = ids("__hh_eel_llo  ww_o");
  const text = path.filter((_, frame) => ruleOf(path, BLANK, frame) === "kept").map((token) => labels[token]).join("");
  assert.equal(text, "hello wo");
});

test("a blank is said to matter only between two equal tokens", () => {
  const path = ids("_l__lo_p_");
  const apart = path.map((_, frame) => (path[frame] === BLANK ? keptApart(path, BLANK, frame) : undefined));
  const l = labels.indexOf("l");
  assert.deepEqual(apart, [null, undefined, l, l, undefined, undefined, null, undefined, null]);
  assert.match(explain({ path, blank: BLANK, labels }, 2), /keeps the two l's apart/);
  assert.match(explain({ path, blank: BLANK, labels }, 0), /no letter here/);
});

test("spans are found by frame and by range", () => {
  const spans = [{ first: 2, last: 4 }, { first: 6, last: 6 }, { first: 7, last: 9 }];
  const found = [0, 2, 4, 5, 6, 7, 9, 10].map((frame) => spans.indexOf(spanAt(spans, frame)));
  assert.deepEqual(found, [-1, 0, 0, -1, 1, 2, 2, -1]);
  assert.deepEqual(spansWithin(spans, 0, 1), [0, 0]);
  assert.deepEqual(spansWithin(spans, 4, 6), [0, 2]);
  assert.deepEqual(spansWithin(spans, 5, 100), [1, 3]);
  assert.deepEqual(spansWithin(spans, 10, 12), [0, 0]);
});

test("a payload decodes to the numbers that went in, and the top tokens are the largest", async () => {
  const pack = (array) => deflateSync(Buffer.from(array.buffer)).toString("base64");
  const spans = {
    labels: ["a"], first: pack(new Uint32Array([0])), last: pack(new Uint32Array([1])),
    start_s: pack(new Float32Array([0])), end_s: pack(new Float32Array([0.08])), score: pack(new Uint8Array([204])),
  };
  const result = await decode({
    duration_s: 0.08, frames: 2, frame_s: 0.04, labels: ["a", "b", "<blank>"], blank: 2, score: "",
    posteriors: pack(new Uint8Array([255, 0, 0, 51, 153, 204])), argmax: pack(new Uint16Array([0, 2])),
    mel: { frames: 1, bins: 2, frame_s: 0.01, values: pack(new Uint8Array([0, 255])) }, tokens: spans, words: spans,
  });
  assert.deepEqual([...result.path], [0, 2]);
  assert.deepEqual(result.tokens, [{ label: "a", first: 0, last: 1, startS: 0, endS: Math.fround(0.08), score: 0.8 }]);
  const top = topTokens(result, 1, 2);
  assert.deepEqual(top.map(({ label }) => label), ["blank", "b"]);
  assert.ok(Math.abs(top[0].p - 0.64) < 1e-9 && Math.abs(top[1].p - 0.36) < 1e-9);
});
