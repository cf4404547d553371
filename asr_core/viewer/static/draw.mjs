// Paints the rows on one canvas: time, sound, spectrogram, probabilities, and for each lane its cells, merges and lines.

import { probability } from "./payload.mjs";
import { letterX } from "./rows.mjs";
import { clock, ruleOf, spanAt, spansWithin, spelled } from "./rules.mjs";

/**
 * scene: {result, rows, view: {left, width, perSecond}, spectrogram, posteriors (Tiles), peaks (or null), atS (explained
 * time, or null), active (its lane), cursorS (playhead, or null), colours}
 */
export function paint(context, scene) {
  const { result, rows, view, colours } = scene;
  context.clearRect(0, 0, view.width, rows.height);
  paintTime(context, view, result, colours);
  if (scene.peaks) paintWave(context, scene);
  scene.spectrogram.paint(context, view, rows.shared.spectrogram);
  scene.posteriors.paint(context, view, rows.shared.posteriors);
  result.lanes.forEach((lane, index) => paintLane(context, scene, lane, rows.lanes[index]));
  if (scene.atS !== null) paintSelection(context, scene);
  if (scene.cursorS !== null) {
    context.fillStyle = colours.cursor;
    context.fillRect(scene.cursorS * view.perSecond - view.left - 1, 0, 2, rows.height);
  }
}

function paintTime(context, { left, width, perSecond }, { startS, durationS }, colours) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300].find((s) => s * perSecond >= 64) ?? 600;
  context.fillStyle = colours.quiet;
  context.font = colours.font(11);
  context.textAlign = "left";
  context.textBaseline = "top";
  const endS = startS + Math.min(durationS, (left + width) / perSecond);
  for (let i = Math.ceil((startS + left / perSecond) / step); i * step <= endS; i++) {
    const s = i * step;
    const x = (s - startS) * perSecond - left;
    context.fillRect(x, 0, 1, 14);
    const digits = step < 1 ? 1 : 0;
    const text = s < 60 ? `${s.toFixed(digits)} s` : clock(s, digits);
    context.fillText(text, x + 4, 2);
  }
}

function paintWave(context, { rows, view, peaks, colours }) {
  const { y, height } = rows.shared.wave;
  const middle = y + height / 2;
  context.fillStyle = colours.wave;
  for (let x = 0; x < view.width; x++) {
    const peak = peaks.between((view.left + x) / view.perSecond, (view.left + x + 1) / view.perSecond);
    const half = Math.max(0.5, (peak * height) / 2);
    context.fillRect(x, middle - half, 1, 2 * half);
  }
}

function paintLane(context, { view, colours, atS }, lane, rows) {
  const perFrame = view.perSecond * lane.frameS;
  const first = Math.max(0, Math.floor(view.left / perFrame));
  const last = Math.min(lane.frames - 1, Math.floor((view.left + view.width) / perFrame));
  if (perFrame >= 2) paintCells(context, lane, rows.cells, view.left, perFrame, first, last, colours);
  if (perFrame >= 4) {
    const frame = atS === null ? -1 : Math.floor(atS / lane.frameS);
    paintMerges(context, lane, rows.merge, view.left, perFrame, first, last, frame, colours);
  }
}

function paintCells(context, lane, { y, height }, left, perFrame, first, last, colours) {
  const keptFont = colours.font(Math.min(15, perFrame * 0.95), 600);
  const mergedFont = colours.font(Math.min(13, perFrame * 0.85));
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let frame = first; frame <= last; frame++) {
    const token = lane.path[frame];
    const x = frame * perFrame - left;
    if (token === lane.blank) {
      context.fillStyle = colours.quiet;
      context.beginPath();
      context.arc(x + perFrame / 2, y + height / 2, Math.min(2, perFrame / 4), 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    const p = probability(lane, frame, token);
    const kept = ruleOf(lane.path, lane.blank, frame) === "kept";
    // A repeat is told by shape too: its cell is lower, its letter lighter.
    const inset = kept ? 0 : 4;
    context.globalAlpha = 0.1 + 0.9 * p;
    context.fillStyle = kept ? colours.kept : colours.merged;
    context.fillRect(x + 0.5, y + inset, perFrame - 1, height - 2 * inset);
    context.globalAlpha = 1;
    if (perFrame >= 9) {
      context.font = kept ? keptFont : mergedFont;
      context.fillStyle = kept && p > 0.55 ? colours.onCell : colours.text;
      context.fillText(spelled(lane.labels[token]), x + perFrame / 2, y + height / 2);
    }
  }
}

function paintMerges(context, lane, { y, height }, left, perFrame, first, last, frame, colours) {
  const [from, to] = spansWithin(lane.tokens, first, last);
  for (const span of lane.tokens.slice(from, to)) {
    const x0 = span.first * perFrame - left + 1;
    const x1 = (span.last + 1) * perFrame - left - 1;
    const middle = (x0 + x1) / 2;
    const lit = frame >= span.first && frame <= span.last;
    context.strokeStyle = lit ? colours.accent : colours.line;
    context.lineWidth = lit ? 2 : 1;
    context.beginPath();
    if (span.last > span.first) {
      context.moveTo(x0, y + 2);
      context.lineTo(x0, y + 8);
      context.lineTo(x1, y + 8);
      context.lineTo(x1, y + 2);
      context.moveTo(middle, y + 8);
    } else {
      context.moveTo(middle, y + 2);
    }
    context.lineTo(letterX(span, lane, perFrame) - left, y + height);
    context.stroke();
  }
}

/** The explained frame as a frame around its cell, up through the probabilities; its letter's seconds on the sound. */
function paintSelection(context, { result, rows, view, atS, active, colours }) {
  const lane = result.lanes[active];
  const perFrame = view.perSecond * lane.frameS;
  const frame = Math.min(lane.frames - 1, Math.floor(atS / lane.frameS));
  const { posteriors, wave, spectrogram } = rows.shared;
  const x = frame * perFrame - view.left;
  const bottom = rows.lanes[active].cells.y + rows.lanes[active].cells.height;
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.strokeRect(x, wave.y, perFrame, posteriors.y + posteriors.height - wave.y);
  context.strokeRect(x, rows.lanes[active].cells.y, perFrame, bottom - rows.lanes[active].cells.y);
  const span = spanAt(lane.tokens, frame);
  if (span) {
    const [start, end] = [span.startS * view.perSecond - view.left, span.endS * view.perSecond - view.left];
    context.fillStyle = colours.accent;
    context.fillRect(start, spectrogram.y + spectrogram.height - 4, end - start, 4);
    context.globalAlpha = 0.18;
    context.fillRect(start, wave.y, end - start, spectrogram.y + spectrogram.height - wave.y);
    context.globalAlpha = 1;
  }
}

/** Letters and words, for a picture: in the page they are buttons over the canvas. */
export function paintText(context, { result, rows, view, colours }) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  result.lanes.forEach((lane, index) => {
    const perFrame = view.perSecond * lane.frameS;
    const frames = [view.left / perFrame, (view.left + view.width) / perFrame];
    const { title, letters, words } = rows.lanes[index];
    context.fillStyle = colours.text;
    if (title) {
      context.textAlign = "left";
      context.font = colours.font(13, 600);
      context.fillText(`${lane.name}: ${lane.text}`, 4, title.y + title.height / 2);
      context.textAlign = "center";
    }
    context.font = colours.font(15, 600);
    for (const span of lane.tokens.slice(...spansWithin(lane.tokens, ...frames))) {
      if (perFrame >= 7 && span.label !== " ") {
        context.fillText(span.label.trim(), letterX(span, lane, perFrame) - view.left, letters.y + letters.height / 2);
      }
    }
    context.font = colours.font(14);
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    for (const span of lane.words.slice(...spansWithin(lane.words, ...frames))) {
      const x = span.startS * view.perSecond - view.left;
      const width = (span.endS - span.startS) * view.perSecond;
      context.strokeRect(x, words.y, width, words.height - 4);
      context.fillText(span.label, x + width / 2, words.y + words.height / 2 - 2, width - 4);
    }
  });
  if (result.track) paintTrack(context, result.track, rows.track, view, colours);
}

function paintTrack(context, { name, words }, rows, { left, width, perSecond }, colours) {
  context.textAlign = "left";
  context.font = colours.font(13, 600);
  context.fillText(name, 4, rows.title.y + rows.title.height / 2);
  context.textAlign = "center";
  context.font = colours.font(14);
  for (const { label, startS, endS, row } of words) {
    const [x, across] = [startS * perSecond - left, (endS - startS) * perSecond];
    if (x > width || x + across < 0) continue;
    context.setLineDash(row.differs ? [4, 3] : []);
    context.strokeRect(x, rows.words.y, across, rows.words.height - 4);
    context.fillText(label, x + across / 2, rows.words.y + rows.words.height / 2 - 2, Math.max(1, across - 4));
  }
  context.setLineDash([]);
}
