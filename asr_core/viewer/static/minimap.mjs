// The whole recording in one strip: where the view stands in it; a click or a drag goes elsewhere.

import { node } from "./elements.mjs";

const HEIGHT = 26;

export class Minimap {
  constructor(onMove) {
    this.element = node("canvas", "minimap");
    this.element.setAttribute("aria-hidden", "true"); // the scroller itself is the accessible way
    this.element.style.height = `${HEIGHT}px`;
    const move = (event) => {
      if (event.buttons) onMove((event.clientX - this.element.getBoundingClientRect().left) / this.element.clientWidth);
    };
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      move(event);
    });
    this.element.addEventListener("pointermove", move);
  }

  /** The strip itself, painted once a recording, size and theme; then from `draw` only the window over it. */
  prepare(peaks, result, colours) {
    const width = this.element.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    const strip = (this.strip = document.createElement("canvas"));
    this.element.width = strip.width = width * ratio;
    this.element.height = strip.height = HEIGHT * ratio;
    this.ratio = ratio;
    if (!width) return;
    const context = strip.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = colours.wave;
    for (let x = 0; peaks && x < width; x++) {
      const peak = peaks.between((x / width) * result.durationS, ((x + 1) / width) * result.durationS);
      context.fillRect(x, HEIGHT / 2 - peak * 11, 1, Math.max(1, peak * 22));
    }
    context.fillStyle = colours.accent;
    for (const { startS } of result.stops) context.fillRect((startS / result.durationS) * width - 1, 0, 2, 5);
  }

  draw(fromPart, toPart, colours) {
    const context = this.element.getContext("2d");
    const { width, height } = this.element;
    context.clearRect(0, 0, width, height);
    if (!width) return;
    context.drawImage(this.strip, 0, 0);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2 * this.ratio;
    context.strokeRect(fromPart * width + this.ratio, this.ratio, (toPart - fromPart) * width - 2 * this.ratio, height - 2 * this.ratio);
  }
}
