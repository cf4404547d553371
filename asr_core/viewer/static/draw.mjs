// Paints the rows of the view on one canvas: time, spectrogram, argmax cells, brackets that merge, lines to the letters.

import { probability } from "./payload.mjs";
import { ruleOf, spansWithin } from "./rules.mjs";

/** Top and height of each row, in CSS pixels; the letters and words are buttons laid over theirs. */
export const ROWS = {
  time: { y: 0, height: 18, caption: "" },
  spectrogram: { y: 18, height: 132, caption: "sound" },
  argmax: { y: 156, height: 28, caption: "best token" },
  merge: { y: 186, height: 34, caption: "merge, drop" },
  letters: { y: 220, height: 30, caption: "letters" },
  words: { y: 254, height: 34, caption: "words" },
};
export const HEIGHT = 290;

export const LETTER_WIDTH = 13; // pixels between letters of the collapsed text, where the frames leave room
const TILE = 1024; // feature frames in one prepared piece of spectrogram

// Darkest to brightest, from one point of a colour scale to the next; the page's background is the quiet end.
const SCALES = {
  dark: [[15, 17, 26], [44, 25, 84], [118, 34, 110], [197, 66, 82], [247, 139, 56], [252, 241, 182]],
  light: [[255, 255, 255], [214, 222, 240], [142, 157, 211], [94, 84, 164], [74, 31, 94], [29, 10, 36]],
};

function colourTable(scale) {
  const table = new Uint8ClampedArray(256 * 3);
  for (let value = 0; value < 256; value++) {
    const position = (value / 255) * (scale.length - 1);
    const i = Math.min(Math.floor(position), scale.length - 2);
    for (let c = 0; c < 3; c++) table[value * 3 + c] = scale[i][c] + (scale[i + 1][c] - scale[i][c]) * (position - i);
  }
  return table;
}

/** The spectrogram as canvases of TILE frames each, made when first seen. */
export class SpectrogramTiles {
  constructor(mel, dark) {
    this.mel = mel;
    this.table = colourTable(dark ? SCALES.dark : SCALES.light);
    this.tiles = [];
  }

  tile(index) {
    return (this.tiles[index] ??= this.make(index));
  }

  make(index) {
    const { frames, bins, values } = this.mel;
    const start = index * TILE;
    const width = Math.min(TILE, frames - start);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = bins;
    const image = new ImageData(width, bins);
    for (let x = 0; x < width; x++) {
      for (let bin = 0; bin < bins; bin++) {
        const from = values[(start + x) * bins + bin] * 3;
        const to = ((bins - 1 - bin) * width + x) * 4; // low frequencies at the bottom
        image.data[to] = this.table[from];
        image.data[to + 1] = this.table[from + 1];
        image.data[to + 2] = this.table[from + 2];
        image.data[to + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  paint(context, left, pixelsPerSecond, width) {
    const perFrame = pixelsPerSecond * this.mel.frameS;
    const { y, height } = ROWS.spectrogram;
    const from = Math.max(0, Math.floor(left / perFrame / TILE));
    const to = Math.min(Math.ceil(this.mel.frames / TILE), Math.ceil((left + width) / perFrame / TILE));
    for (let index = from; index < to; index++) {
      const tile = this.tile(index);
      // A feature frame is centred on its time, so it is drawn half a frame early.
      context.drawImage(tile, (index * TILE - 0.5) * perFrame - left, y, tile.width * perFrame, height);
    }
  }
}

/** view: {left, width, perFrame (pixels), frame (hovered or -1), cursorS (or null)}; colours: from the stylesheet. */
export function paint(context, result, tiles, view, colours) {
  const { left, width, perFrame } = view;
  const perSecond = perFrame / result.frameS;
  context.clearRect(0, 0, width, HEIGHT);
  const first = Math.max(0, Math.floor(left / perFrame));
  const last = Math.min(result.frames - 1, Math.floor((left + width) / perFrame));
  paintTime(context, view, perSecond, result.durationS, colours);
  tiles.paint(context, left, perSecond, width);
  if (perFrame >= 3) paintCells(context, result, view, first, last, colours);
  paintMerges(context, result, view, first, last, colours);
  if (view.frame >= 0) {
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.strokeRect(view.frame * perFrame - left, ROWS.spectrogram.y, perFrame, ROWS.merge.y - ROWS.spectrogram.y);
  }
  if (view.cursorS !== null) {
    context.fillStyle = colours.cursor;
    context.fillRect(view.cursorS * perSecond - left - 1, 0, 2, HEIGHT);
  }
}

function paintTime(context, { left, width }, perSecond, durationS, colours) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300].find((s) => s * perSecond >= 64) ?? 600;
  context.fillStyle = colours.quiet;
  context.font = colours.font(11);
  context.textAlign = "left";
  context.textBaseline = "top";
  for (let i = Math.ceil(left / perSecond / step); i * step <= Math.min(durationS, (left + width) / perSecond); i++) {
    const x = i * step * perSecond - left;
    context.fillRect(x, 0, 1, 14);
    const s = i * step;
    const text = s < 60 ? `${s.toFixed(step < 1 ? 1 : 0)} s` : `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}`;
    context.fillText(text, x + 4, 2);
  }
}

function paintCells(context, result, { left, perFrame }, first, last, colours) {
  const { y, height } = ROWS.argmax;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const keptFont = colours.font(Math.min(15, perFrame * 0.95), 600);
  const mergedFont = colours.font(Math.min(13, perFrame * 0.85));
  for (let frame = first; frame <= last; frame++) {
    const token = result.path[frame];
    const x = frame * perFrame - left;
    if (token === result.blank) {
      context.fillStyle = colours.quiet;
      context.beginPath();
      context.arc(x + perFrame / 2, y + height / 2, Math.min(2, perFrame / 4), 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    const p = probability(result, frame, token);
    const kept = ruleOf(result.path, result.blank, frame) === "kept";
    // A repeat is told by shape too: its cell is lower, its letter lighter.
    const inset = kept ? 0 : 4;
    context.globalAlpha = 0.1 + 0.9 * p;
    context.fillStyle = kept ? colours.kept : colours.merged;
    context.fillRect(x + 0.5, y + inset, perFrame - 1, height - 2 * inset);
    context.globalAlpha = 1;
    if (perFrame >= 9) {
      context.font = kept ? keptFont : mergedFont;
      context.fillStyle = kept && p > 0.55 ? colours.onCell : colours.text;
      context.fillText(result.labels[token] === " " ? "␣" : result.labels[token], x + perFrame / 2, y + height / 2);
    }
  }
}

function paintMerges(context, result, { left, perFrame, frame }, first, last, colours) {
  const { y, height } = ROWS.merge;
  const [from, to] = spansWithin(result.tokens, first, last);
  for (let index = from; index < to; index++) {
    const span = result.tokens[index];
    const x0 = span.first * perFrame - left + 1;
    const x1 = (span.last + 1) * perFrame - left - 1;
    const middle = (x0 + x1) / 2;
    const lit = frame >= span.first && frame <= span.last;
    context.strokeStyle = lit ? colours.accent : colours.line;
    context.lineWidth = lit ? 2 : 1;
    context.beginPath();
    if (span.last > span.first) {
      context.moveTo(x0, y + 2);
      context.lineTo(x0, y + 9);
      context.lineTo(x1, y + 9);
      context.lineTo(x1, y + 2);
      context.moveTo(middle, y + 9);
    } else {
      context.moveTo(middle, y + 2);
    }
    context.lineTo(letterX(span, result, perFrame) - left, y + height);
    context.stroke();
  }
}

/** Where a letter of the collapsed text stands, in pixels from the start: its word is set close around its own middle. */
export function letterX(span, result, perFrame) {
  const middle = ((span.first + span.last + 1) / 2) * perFrame;
  if (span.word === undefined) return middle; // a space
  const spacing = Math.min(perFrame, LETTER_WIDTH);
  const { first, last, letters } = result.words[span.word];
  const centre = ((first + last + 1) / 2) * perFrame;
  return centre + (span.position - (letters - 1) / 2) * spacing;
}
