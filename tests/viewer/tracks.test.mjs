// node --test tests/viewer: a reference track against what was heard, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { legend, measure, relation, rowAt, stopsOf } from "../../asr_core/viewer/static/tracks.mjs";

/** Two words heard, the second late; a third in the track, which was not heard; and one that only was heard. */
function example() {
  const heard = [["the", 0, 2, 0, 0.3], ["cat", 5, 7, 0.5, 0.8], ["uh", 20, 21, 2, 2.2]].map(([label, first, last, startS, endS], index) => (
    { label, first, last, startS, endS, index }
  ));
  const words = [["the", 0.02, 0.3], ["cat", 0.4, 0.8], ["sat", 1, 1.4]].map(([label, startS, endS]) => ({ label, startS, endS }));
  const rows = [["same", [0, 1], 0], ["same", [1, 2], 1], ["missing", [2, 2], 2], ["added", [2, 3], -1]].map(([kind, range, word]) => {
    const row = { kind, heard: range, word: words[word] ?? null };
    if (row.word) row.word.row = row;
    return row;
  });
  const track = { name: "hand.ctm", lane: 0, thresholdMs: 50, words, rows };
  const tokens = [{ first: 3 }];
  return { lanes: [{ words: heard, tokens, frameS: 0.1 }, { words: [], tokens, frameS: 0.1 }], differences: [], track };
}

test("distances are heard minus reference, and beyond the threshold a row disagrees", () => {
  const { track, lanes } = example();
  measure(track, lanes[0].words);
  assert.deepEqual(track.rows.map(({ startMs, endMs, differs }) => [startMs, endMs, differs]), [
    [-20, 0, false], [100, 0, true], [null, null, true], [null, null, true],
  ]);
  assert.deepEqual(track.rows.map(relation), [
    "heard minus reference: start −20 ms, end 0 ms", "heard minus reference: start +100 ms, end 0 ms", "not heard", "not in the reference",
  ]);
  assert.equal(relation({ kind: "different", text: "hat", startMs: 1, endMs: 0 }), "heard “hat”, heard minus reference: start +1 ms, end 0 ms");
  assert.match(legend(track), /^hand\.ctm: 3 times, 3 disagreements .* over 50 ms/);
});

test("what is visited are the differences of lanes and the track's disagreements, in order of time", () => {
  const result = example();
  measure(result.track, result.lanes[0].words);
  result.differences = [{ sides: [[0, 0], [0, 1]], startS: 0.3 }];
  const near = (value) => Math.round(value * 100) / 100;
  assert.deepEqual(stopsOf(result).map(({ startS, atS, lane }) => [near(startS), near(atS), lane]), [
    [0.3, 0.35, 1], [0.4, 0.55, 0], [1, 1.2, 0], [2.05, 2.05, 0],
  ]);
  assert.deepEqual(stopsOf({ ...result, track: null }).length, 1);
});

test("a frame's row is that of its word, or of the track's word at its time", () => {
  const { track } = example();
  assert.equal(rowAt(track, 2, 9), track.rows[3]);
  assert.equal(rowAt(track, undefined, 1.2), track.rows[2]);
  assert.equal(rowAt(track, -1, 1.4), null);
});
