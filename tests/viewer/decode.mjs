// node decode.mjs < PAYLOADS: a list of payloads in, what the view makes of each out, for test_payload.py.
import { text } from "node:stream/consumers";
import { decode, probability, setConvention } from "../../asr_core/viewer/static/payload.mjs";

const spansOf = (spans) => spans.map(({ label, first, last, score, startS, endS, confidence }) => (
  [label, first, last, score, startS, endS, confidence]
));

async function read(payload) {
  const result = await decode(payload);
  const { durationS, convention, mel } = result;
  const lanes = result.lanes.map((lane) => {
    const frames = [...lane.path.keys()];
    const { name, text, labels, blank, frameS, greedy, warnings } = lane;
    const probabilities = frames.map((frame) => labels.map((_, token) => probability(lane, frame, token)));
    return { name, text, labels, blank, frameS, greedy, warnings, path: [...lane.path], probabilities };
  });
  const spans = {};
  const rows = {};
  for (const name of Object.keys(result.conventions)) {
    setConvention(result, name);
    rows[name] = result.track?.rows.map(({ text, word, kind, startMs, endMs, differs }) => [text, word?.label ?? null, kind, startMs, endMs, differs]);
    spans[name] = result.lanes.map(({ tokens, words }) => [spansOf(tokens), spansOf(words)]);
  }
  return { durationS, convention, mel: [...mel.values], melShape: [mel.frames, mel.bins], lanes, spans, rows };
}

console.log(JSON.stringify(await Promise.all(JSON.parse(await text(process.stdin)).map(read))));
