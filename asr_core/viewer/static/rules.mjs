// What CTC did with each frame, in words. Pure functions of a lane: no page, no canvas.

import { probability } from "./payload.mjs";

/** "dropped" (a blank), "merged" (repeats the frame before) or "kept". */
export function ruleOf(path, blank, frame) {
  if (path[frame] === blank) return "dropped";
  return frame > 0 && path[frame - 1] === path[frame] ? "merged" : "kept";
}

export function nameOf(label) {
  return label === " " ? "space" : spelled(label);
}

/** A label with its spaces to be seen: one in front begins a word. */
export function spelled(label) {
  return label.replaceAll(" ", "␣");
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
export function topTokens(lane, frame, n = 5) {
  return lane.labels
    .map((label, token) => ({ token, label: token === lane.blank ? "blank" : nameOf(label), p: probability(lane, frame, token) }))
    .sort((a, b) => b.p - a.p)
    .slice(0, n);
}

/** How undecided a frame is, in bits: 0 when one token has everything. */
export function entropy(lane, frame) {
  let bits = 0;
  for (let token = 0; token < lane.labels.length; token++) {
    const p = probability(lane, frame, token);
    if (p > 0) bits -= p * Math.log2(p);
  }
  return bits;
}

/** Tokens that reach probability `least` somewhere, in the alphabet's order with the blank last: rows of the heat strip. */
export function activeTokens(lane, least = 0.05) {
  const threshold = 255 * Math.sqrt(least);
  const size = lane.labels.length;
  const seen = new Uint8Array(size);
  for (let i = 0; i < lane.posteriors.length; i++) if (lane.posteriors[i] >= threshold) seen[i % size] = 1;
  const tokens = lane.labels.map((_, token) => token).filter((token) => seen[token] && token !== lane.blank);
  return [...tokens, lane.blank];
}

/** Index of the first span that ends at or after a frame. Spans are in order and do not overlap. */
function firstEndingFrom(spans, frame) {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].last < frame) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The span that holds a frame, or null. */
export function spanAt(spans, frame) {
  const span = spans[firstEndingFrom(spans, frame)];
  return span && span.first <= frame ? span : null;
}

/** Indices [from, to) of the spans that reach into the frames [first, last]. */
export function spansWithin(spans, first, last) {
  const from = firstEndingFrom(spans, first);
  let to = from;
  while (to < spans.length && spans[to].first <= last) to++;
  return [from, to];
}

/** The nearest span after (step 1) or before (step -1) a frame, or null. */
export function neighbour(spans, frame, step) {
  if (step > 0) return spans.find((span) => span.first > frame) ?? null;
  return spans.findLast((span) => span.last < frame) ?? null;
}

/** What to play for a span: itself, or with `padded` at least 0.3 s around its middle. -> [startS, endS] */
export function playRange({ startS, endS }, durationS, padded) {
  const missing = padded ? Math.max(0, 0.3 - (endS - startS)) / 2 : 0;
  return [Math.max(0, startS - missing), Math.min(durationS, endS + missing)];
}

/** Seconds as a clock shows them: 75 is 1:15, 3675 is 1:01:15, and with one digit 75.25 is 1:15.3. */
export function clock(s, digits = 0) {
  const two = (n, width = 2) => String(n).padStart(width, "0");
  const rounded = Number(s.toFixed(digits));
  const [h, m] = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60];
  const rest = two((rounded % 60).toFixed(digits), digits ? 3 + digits : 2);
  return h ? `${h}:${two(m)}:${rest}` : `${m}:${rest}`;
}

export function seconds(s) {
  return `${s.toFixed(2)} s`;
}
