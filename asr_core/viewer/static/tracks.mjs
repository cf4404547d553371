// A reference track against the words heard, as asr_core/boundaries.py has it. Pure functions: no page, no canvas.

/** Give every row its distances in ms (heard minus reference; null where one is missing), and whether it disagrees. */
export function measure({ rows, thresholdMs }, heardWords) {
  for (const row of rows) {
    const heard = heardWords.slice(...row.heard);
    const both = heard.length > 0 && row.word !== null;
    row.startMs = both ? Math.round(1000 * (heard[0].startS - row.word.startS)) : null;
    row.endMs = both ? Math.round(1000 * (heard.at(-1).endS - row.word.endS)) : null;
    row.text = heard.map(({ label }) => label).join(" ");
    row.differs = row.kind !== "same" || Math.max(Math.abs(row.startMs), Math.abs(row.endMs)) > thresholdMs;
  }
}

/** Where lanes differ, and where the track disagrees, in order: [{startS, atS, lane}]; atS: in the frame to explain. */
export function stopsOf({ lanes, differences, track }) {
  const middleOf = ({ first }, lane) => (first + 0.5) * lanes[lane].frameS;
  const stops = differences.map(({ sides, startS }) => {
    const lane = sides[0][0] < sides[0][1] ? 0 : 1;
    return { startS, atS: middleOf(lanes[lane].tokens[sides[lane][0]], lane), lane };
  });
  for (const { heard: [from, to], word, differs } of track?.rows ?? []) {
    if (!differs) continue;
    const heard = from < to ? lanes[track.lane].words[from] : null;
    const atS = heard ? middleOf(heard, track.lane) : (word.startS + word.endS) / 2;
    stops.push({ startS: Math.min(word?.startS ?? atS, atS), atS, lane: track.lane });
  }
  return stops.sort((a, b) => a.atS - b.atS);
}

/** The row of a word heard, by its index; or else of the track's word at a time; or null. */
export function rowAt({ rows, words }, wordIndex, timeS) {
  const heard = rows.find(({ heard: [from, to] }) => from <= wordIndex && wordIndex < to);
  return heard ?? words.find(({ startS, endS }) => startS <= timeS && timeS < endS)?.row ?? null;
}

/** What a row says of the track's word, in words. */
export function relation({ kind, text, startMs, endMs }) {
  const signed = (ms) => `${ms > 0 ? "+" : ms < 0 ? "−" : ""}${Math.abs(ms)} ms`;
  if (kind === "missing") return "not heard";
  if (kind === "added") return "not in the reference";
  const heard = kind === "different" ? `heard “${text}”, ` : "";
  return `${heard}heard minus reference: start ${signed(startMs)}, end ${signed(endMs)}`;
}

/** How a track and what was heard get on, below the view. */
export function legend({ name, words, rows, thresholdMs }) {
  const many = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
  const differ = rows.filter(({ differs }) => differs).length;
  return `${name}: ${many(words.length, "time")}, ${many(differ, "disagreement")} with what was heard. A dashed box is not what was heard, or has an edge over ${thresholdMs} ms from it.`;
}
