// What CTC did with each frame, in words. Pure functions: no page, no canvas.

import { probability } from "./payload.mjs";

/** "dropped" (a blank), "merged" (repeats the frame before) or "kept". */
export function ruleOf(path, blank, frame) {
  if (path[frame] === blank) return "dropped";
  return frame > 0 && path[frame - 1] === path[frame] ? "merged" : "kept";
}

export function nameOf(label) {
  return label === " " ? "space" : label;
}

/** The rule that applied to a frame, as a sentence. */
export function explain({ path, blank, labels }, frame) {
  const name = nameOf(labels[path[frame]]);
  switch (ruleOf(path, blank, frame)) {
    case "kept":
      return `Kept: a new ${name} begins here.`;
    case "merged":
      return `Merged: repeats the ${name} of the frame before.`;
    default: {
      const between = keptApart(path, blank, frame);
      return between === null
        ? "Dropped: a blank, no letter here."
        : `Dropped, but it matters: this blank keeps the two ${nameOf(labels[between])}'s apart.`;
    }
  }
}

/** The token that a blank keeps double: the same one before and after its run of blanks. Else null. */
export function keptApart(path, blank, frame) {
  let before = frame;
  while (before >= 0 && path[before] === blank) before--;
  let after = frame;
  while (after < path.length && path[after] === blank) after++;
  return before >= 0 && after < path.length && path[before] === path[after] ? path[before] : null;
}

/** The n most probable tokens of a frame: [{token, label, p}], best first. */
export function topTokens(result, frame, n = 5) {
  return result.labels
    .map((label, token) => ({ token, label: token === result.blank ? "blank" : nameOf(label), p: probability(result, frame, token) }))
    .sort((a, b) => b.p - a.p)
    .slice(0, n);
}

/** The span that holds a frame, or null. Spans are in order and do not overlap. */
export function spanAt(spans, frame) {
  let low = 0;
  let high = spans.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (frame < spans[middle].first) high = middle - 1;
    else if (frame > spans[middle].last) low = middle + 1;
    else return spans[middle];
  }
  return null;
}

/** Indices [from, to) of the spans that reach into the frames [first, last]. */
export function spansWithin(spans, first, last) {
  const from = spans.findIndex((span) => span.last >= first);
  if (from < 0) return [0, 0];
  const length = spans.slice(from).findIndex((span) => span.first > last);
  return [from, length < 0 ? spans.length : from + length];
}

export function seconds(s) {
  return `${s.toFixed(2)} s`;
}
