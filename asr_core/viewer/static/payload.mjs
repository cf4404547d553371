// The payload of asr_core/viewer/payload.py -> typed arrays. The only file that knows how numbers travel.

import { measure, stopsOf } from "./tracks.mjs";

async function unpack(text, Type) {
  const compressed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Type(await new Response(stream).arrayBuffer());
}

async function unpackAll(texts, Type) {
  const arrays = await Promise.all(Object.values(texts).map((text) => unpack(text, Type)));
  return Object.fromEntries(Object.keys(texts).map((name, i) => [name, arrays[i]]));
}

async function unpackSpans(columns) {
  const [first, last, score, confidence, times] = await Promise.all([
    unpack(columns.first, Uint32Array),
    unpack(columns.last, Uint32Array),
    unpack(columns.score, Uint8Array),
    unpack(columns.confidence ?? columns.score, Uint8Array), // tokens have none, nor had words in older payloads
    unpackAll(columns.times, Float32Array),
  ]);
  return columns.labels.map((label, index) => ({
    index, label, first: first[index], last: last[index], score: score[index] / 255, confidence: confidence[index] / 255,
    times: Object.fromEntries(Object.entries(times).map(([name, t]) => [name, [t[2 * index], t[2 * index + 1]]])),
  }));
}

async function unpackLane(lane, emissions) {
  const [path, tokens, words, costs] = await Promise.all([
    unpack(lane.frame_tokens, Uint16Array),
    unpackSpans(lane.tokens),
    unpackSpans(lane.words),
    unpack(lane.costs, Float32Array),
  ]);
  tokens.forEach((token, i) => (token.cost = costs[i]));
  setLetters(tokens, words);
  const { name, note, text, greedy, warnings } = lane;
  return { ...emissions[lane.emission], emission: lane.emission, name, note, text, greedy, path, tokens, words, warnings };
}

async function unpackTrack(track) {
  if (!track) return null;
  const [times, rows] = await Promise.all([unpack(track.times, Float32Array), unpack(track.rows, Int32Array)]);
  const words = track.labels.map((label, i) => ({ label, startS: times[2 * i], endS: times[2 * i + 1] }));
  const { name, lane, kinds, threshold_ms: thresholdMs } = track;
  return { name, lane, thresholdMs, words, rows: Array.from({ length: rows.length / 4 }, (_, i) => {
    const [from, to, word, kind] = rows.subarray(4 * i, 4 * i + 4);
    const row = { heard: [from, to], word: words[word] ?? null, kind: kinds[kind] };
    if (row.word) row.word.row = row;
    return row;
  }) };
}

/** Each token learns its word and where in it its middle stands, in letters; each word how many letters it has. */
function setLetters(tokens, words) {
  let word = 0;
  for (const token of tokens) {
    while (word < words.length && token.first > words[word].last) word++;
    if (token.label === " " || word === words.length) continue;
    token.word = word;
    const before = words[word].letters ?? 0;
    const letters = token.label.trim().length;
    token.position = before + (letters - 1) / 2;
    words[word].letters = before + letters;
  }
}

/**
 * -> {startS, durationS, part, score, confidence, conventions, convention, mel, lanes, differences, track, stops, focus, audioUrl}; a lane holds its
 * emission's fields {frames, frameS, labels, blank, posteriors} and {name, note, text, greedy, path, tokens, words, warnings}; greedy: its path is
 * the best token of each frame.
 */
export async function decode(payload) {
  const [mel, emissions] = await Promise.all([
    unpack(payload.mel.values, Uint8Array),
    Promise.all(payload.emissions.map(async ({ frames, frame_s, labels, blank, posteriors }) => (
      { frames, frameS: frame_s, labels, blank, posteriors: await unpack(posteriors, Uint8Array) }
    ))),
  ]);
  const result = {
    startS: payload.start_s, // in the whole recording; every other time is counted from there
    durationS: payload.duration_s,
    part: payload.part, // {number, count}
    score: payload.score,
    confidence: payload.confidence ?? "its score", // as older payloads have it
    conventions: payload.conventions,
    convention: payload.convention,
    mel: { frames: payload.mel.frames, bins: payload.mel.bins, frameS: payload.mel.frame_s, values: mel },
    lanes: await Promise.all(payload.lanes.map((lane) => unpackLane(lane, emissions))),
    differences: payload.differences.map(({ kind, first, second, start_s, end_s }) => (
      { kind, sides: [first, second], startS: start_s, endS: end_s }
    )),
    track: await unpackTrack(payload.track), // {name, lane, thresholdMs, words, rows}, or null
    focus: payload.focus, // {lane, first, last} frame to look at, or null
    audioUrl: payload.audio?.url ?? null, // null where the sound is not at hand
  };
  for (const { kind, sides } of result.differences) {
    result.lanes.forEach((lane, i) => lane.tokens.slice(...sides[i]).forEach((token) => (token.difference = kind)));
  }
  setConvention(result, result.convention);
  return result;
}

/** Give every span the seconds that a convention says, and find anew what is to be visited. */
export function setConvention(result, name) {
  result.convention = name;
  for (const { tokens, words } of result.lanes) {
    for (const span of [...tokens, ...words]) [span.startS, span.endS] = span.times[name];
  }
  if (result.track) measure(result.track, result.lanes[result.track.lane].words);
  result.stops = stopsOf(result);
}

/** Probability of a token in a frame; the payload holds its square root in 255ths. */
export function probability(lane, frame, token) {
  const root = lane.posteriors[frame * lane.labels.length + token] / 255;
  return root * root;
}
