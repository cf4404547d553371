// node --test tests/viewer: the logic of the view, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  activeTokens, clock, entropy, explain, keptApart, nameOf, neighbour, playRange, ruleOf, spanAt, spansWithin, spelled, topTokens,
} from "../../asr_core/viewer/static/rules.mjs";
import { decode, setConvention } from "../../asr_core/viewer/static/payload.mjs";
import { describe } from "../../asr_core/viewer/static/details.mjs";
import { letterX } from "../../asr_core/viewer/static/rows.mjs";
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
  assert.deepEqual(spansWithin(spans, 10, 12), [3, 3]);
});

test("the neighbouring letter is found from inside a letter and from a blank", () => {
  const spans = [{ first: 2, last: 4 }, { first: 6, last: 6 }, { first: 7, last: 9 }];
  const at = (frame, step) => spans.indexOf(neighbour(spans, frame, step));
  assert.deepEqual([at(3, 1), at(5, 1), at(7, 1), at(5, -1), at(8, -1), at(3, -1)], [1, 1, -1, 0, 1, -1]);
});

test("a span plays exactly, or padded to 0.3 s around its middle, within the recording", () => {
  const close = (got, wanted) => got.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 1e-9, `${got}`));
  close(playRange({ startS: 1, endS: 1.04 }, 5, false), [1, 1.04]);
  close(playRange({ startS: 1, endS: 1.04 }, 5, true), [0.87, 1.17]);
  close(playRange({ startS: 1, endS: 2 }, 5, true), [1, 2]);
  close(playRange({ startS: 0.02, endS: 0.06 }, 0.1, true), [0, 0.1]);
});

test("letters of a word stand in order and never further apart than their frames", () => {
  const words = [{ first: 2, last: 20, letters: 3 }];
  const letters = [[2, 3], [9, 9], [20, 20]].map(([first, last], position) => ({ first, last, word: 0, position }));
  const xs = letters.map((letter) => letterX(letter, { words }, 15));
  assert.ok(xs[0] < xs[1] && xs[1] < xs[2]);
  assert.ok(Math.abs(xs[1] - (2 + 21) / 2 * 15) < 1e-9, "the middle letter stands in the middle of the word");
  assert.equal(letterX({ first: 4, last: 4 }, { words }, 15), 4.5 * 15);
});

const pack = (array) => deflateSync(Buffer.from(array.buffer)).toString("base64");
const spans = {
  labels: ["a"], first: pack(new Uint32Array([0])), last: pack(new Uint32Array([0])), score: pack(new Uint8Array([204])),
  times: { spike: pack(new Float32Array([0, 0.5])), energy: pack(new Float32Array([0, 0.75])) },
};
const lane = {
  name: "heard", note: "", text: "a", emission: 0, frame_tokens: pack(new Uint16Array([0, 2])), tokens: spans, words: spans,
  costs: pack(new Float32Array([1.5])), warnings: { spike: {}, energy: {} },
};
const sent = {
  duration_s: 1, score: "", conventions: { spike: "", energy: "" }, convention: "spike", lanes: [lane],
  emissions: [{ frames: 2, frame_s: 0.5, labels: ["a", "b", "<blank>"], blank: 2, posteriors: pack(new Uint8Array([255, 0, 0, 51, 153, 204])) }],
  mel: { frames: 1, bins: 2, frame_s: 0.01, values: pack(new Uint8Array([0, 255])) }, differences: [],
};

test("a payload decodes to the numbers that went in, and the top tokens are the largest", async () => {
  const result = await decode(sent);
  const [heard] = result.lanes;
  assert.deepEqual([...heard.path], [0, 2]);
  const [token] = heard.tokens;
  assert.deepEqual([token.label, token.first, token.last, token.score, token.cost, token.endS], ["a", 0, 0, 0.8, 1.5, 0.5]);
  setConvention(result, "energy");
  assert.equal(token.endS, 0.75);
  const top = topTokens(heard, 1, 2);
  assert.deepEqual(top.map(({ label }) => label), ["blank", "b"]);
  assert.ok(Math.abs(top[0].p - 0.64) < 1e-9 && Math.abs(top[1].p - 0.36) < 1e-9);
  assert.equal(entropy(heard, 0), 0);
  assert.ok(Math.abs(entropy(heard, 1) - (-0.64 * Math.log2(0.64) - 0.36 * Math.log2(0.36) - 0.04 * Math.log2(0.04))) < 1e-9);
  assert.deepEqual(activeTokens(heard), [0, 1, 2]);
  assert.deepEqual(activeTokens(heard, 0.5), [0, 2]);
});

test("a word is told with its confidence where that is not its score, and older payloads have none", async () => {
  const words = { ...spans, confidence: pack(new Uint8Array([51])) };
  const result = await decode({ ...sent, confidence: "how probable", lanes: [{ ...lane, words }, lane] });
  const [{ words: [told], tokens: [token] }, { words: [older] }] = result.lanes;
  assert.deepEqual([told.score, told.confidence, older.confidence, result.confidence], [0.8, 0.2, 0.8, "how probable"]);
  assert.equal(describe(told, 0), "0.00 s to 0.50 s, score 80 %, confidence 20 %");
  assert.deepEqual([token, older].map((span) => describe(span, 0)), Array(2).fill("0.00 s to 0.50 s, score 80 %"));
  assert.equal((await decode(sent)).confidence, "its score");
});

test("a difference marks the letters of both lanes", async () => {
  const difference = { kind: "substitute", first: [0, 1], second: [0, 1], start_s: 0, end_s: 0.5 };
  const result = await decode({ ...sent, lanes: [lane, lane], differences: [difference] });
  assert.deepEqual(result.lanes.map(({ tokens }) => tokens[0].difference), ["substitute", "substitute"]);
});

test("a piece of a word takes the room of its letters, and its space is seen", async () => {
  const columns = (labels) => ({
    ...spans, labels, first: pack(new Uint32Array(labels.map((_, i) => i))), last: pack(new Uint32Array(labels.map((_, i) => i))),
    score: pack(new Uint8Array(labels.map(() => 255))),
    times: { spike: pack(new Float32Array(labels.flatMap((_, i) => [i, i + 1]))), energy: pack(new Float32Array(labels.flatMap((_, i) => [i, i + 1]))) },
  });
  const words = { ...columns(["hello"]), last: pack(new Uint32Array([1])) };
  const result = await decode({ ...sent, lanes: [{ ...lane, tokens: columns([" he", "llo"]), words, costs: pack(new Float32Array([])) }] });
  const [{ tokens: [he, llo], words: [hello] }] = result.lanes;
  assert.deepEqual([hello.letters, he.position, llo.position], [5, 0.5, 3]); // the middles of h-e and l-l-o
  const perFrame = 100;
  assert.equal(letterX(llo, { words: [hello] }, perFrame) - letterX(he, { words: [hello] }, perFrame), 2.5 * 13);
  assert.deepEqual([nameOf(" he"), nameOf(" "), spelled(" ")], ["␣he", "space", "␣"]);
});

test("a clock shows hours only when there are any, and rounds before it carries", () => {
  assert.deepEqual([0, 75, 3675, 59.6, 3599.7].map((s) => clock(s)), ["0:00", "1:15", "1:01:15", "1:00", "1:00:00"]);
  assert.deepEqual([75.25, 60.04, 3605.5].map((s) => clock(s, 1)), ["1:15.3", "1:00.0", "1:00:05.5"]);
});
