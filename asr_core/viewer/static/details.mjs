// The panel that explains one frame: its time, the rule that applied, its letter and word, and the most probable tokens.

import { node } from "./elements.mjs";
import { relation, rowAt } from "./tracks.mjs";
import { entropy, explain, nameOf, seconds, spanAt, topTokens } from "./rules.mjs";

const DIFFERENCES = {
  substitute: "The other lane has another letter here.",
  delete: "Only this lane has this letter.",
  insert: "Only this lane has this letter.",
};

/** originS: where the times of spans are counted from. */
export function describe(span, originS) {
  const percent = (p) => `${Math.round(p * 100)} %`;
  const sure = span.confidence === span.score ? "" : `, confidence ${percent(span.confidence)}`;
  return `${secondsOf(span, originS)}, score ${percent(span.score)}${sure}`;
}

export function secondsOf({ startS, endS }, originS) {
  return `${seconds(originS + startS)} to ${seconds(originS + endS)}`;
}

export function explainFrame(result, lane, frame) {
  const startS = result.startS + frame * lane.frameS;
  const token = spanAt(lane.tokens, frame);
  const word = spanAt(lane.words, frame);
  const heading = node("div", "heading");
  heading.append(
    node("strong", "", `Frame ${frame + 1}`),
    node("span", "", `${Math.round(startS * 1000)} to ${Math.round((startS + lane.frameS) * 1000)} ms`),
    node("span", "", `entropy ${entropy(lane, frame).toFixed(2)} bits`),
  );
  if (result.lanes.length > 1) heading.append(node("span", "lane-name", lane.name));
  const where = node("p", "where");
  const say = (text, className) => where.append(node("span", className, text));
  if (token) {
    const cost = token.cost === undefined ? "" : `, cost ${token.cost.toFixed(2)} nats`;
    say(`${nameOf(token.label)}: ${describe(token, result.startS)}${cost}`);
    if (token.difference) say(DIFFERENCES[token.difference], "differs");
  }
  if (word) {
    say(`in “${word.label}”: ${describe(word, result.startS)}`);
    const warning = lane.warnings[result.convention][word.index];
    if (warning) say(`⚠ ${warning}`, "differs");
  }
  const row = result.track && rowAt(result.track, lane === result.lanes[result.track.lane] ? word?.index : -1, (frame + 0.5) * lane.frameS);
  if (row) {
    const timed = row.word ? ` “${row.word.label}”, ${secondsOf(row.word, result.startS)}` : "";
    say(`${result.track.name}:${timed} ${row.word ? "· " : ""}${relation(row)}`, row.differs ? "differs" : "");
  }
  const what = node("div", "what");
  what.append(heading, node("p", "rule", explain(lane, frame)), where);
  const bars = node("ol", "bars");
  for (const { token: id, label, p } of topTokens(lane, frame)) {
    const item = node("li", id === lane.path[frame] ? "best" : "");
    const bar = node("span", "bar");
    bar.style.setProperty("--p", p);
    item.append(node("span", "token", label), bar, node("span", "percent", `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`));
    bars.append(item);
  }
  return [what, bars];
}
