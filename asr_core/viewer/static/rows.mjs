// Where everything stands: the rows of the view from top to bottom, and the letters within them. CSS pixels.

export const LETTER_WIDTH = 13; // between letters of the collapsed text, where the frames leave room

/** -> {height, shared: {time, wave, spectrogram, posteriors}, lanes: [{title, cells, merge, letters, words}], track, captions}
 * heard: whether the sound is at hand; else its rows have no height. tracked: whether there is a reference track. */
export function layOut(lanes, heard, tracked) {
  let y = 0;
  const captions = [];
  const row = (height, gap, caption) => {
    const placed = { y, height };
    if (caption) captions.push({ text: caption, y: y + height / 2 });
    y += height + gap;
    return placed;
  };
  const shared = {
    time: row(18, 0),
    wave: heard ? row(40, 2, "sound") : row(0, 0),
    spectrogram: heard ? row(112, 4, "spectrogram") : row(0, 0),
    posteriors: row(84, 6, "probabilities"),
  };
  const blocks = lanes.map((lane) => ({
    title: lanes.length > 1 ? row(22, 2) : null,
    cells: row(28, 0, lane.greedy ? "best token" : "its path"),
    merge: row(32, 0, "merge, drop"),
    letters: row(28, 2, "letters"),
    words: row(32, 8, "words"),
  }));
  const track = tracked ? { title: row(22, 2), words: row(32, 8, "reference") } : null;
  return { height: y, shared, lanes: blocks, track, captions };
}

/** Middle of a letter of the collapsed text, from the start of time: its word is set close around its own middle. */
export function letterX(span, lane, perFrame) {
  const middle = ((span.first + span.last + 1) / 2) * perFrame;
  if (span.word === undefined) return middle; // a space
  const spacing = Math.min(perFrame, LETTER_WIDTH);
  const { first, last, letters } = lane.words[span.word];
  return ((first + last + 1) / 2) * perFrame + (span.position - (letters - 1) / 2) * spacing;
}
