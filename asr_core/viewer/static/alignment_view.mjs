// The alignment view: one time axis from sound to words, for one reading or two. mount(element).show(payload) draws;
// everything else follows from pointer, keyboard and scrolling. Text is set with textContent only.

import { decode, setConvention } from "./payload.mjs";
import { explainFrame } from "./details.mjs";
import { paint, paintText } from "./draw.mjs";
import { button, node } from "./elements.mjs";
import { listen } from "./gestures.mjs";
import { helpDialog } from "./help.mjs";
import { Minimap } from "./minimap.mjs";
import { Peaks, Player } from "./player.mjs";
import { layOut } from "./rows.mjs";
import { activeTokens, playRange } from "./rules.mjs";
import { TextLayer } from "./text_layer.mjs";
import { Tiles } from "./tiles.mjs";
import { toolbarFor } from "./toolbar.mjs";
import { legend } from "./tracks.mjs";

const MAX_PIXELS_PER_FRAME = 64;
const COMFORTABLE_PIXELS_PER_FRAME = 15; // a letter fits its cell
const FOCUS_PIXELS_PER_FRAME = 30; // a few words in sight on a wide page
const COLOURS = ["text", "quiet", "line", "accent", "kept", "merged", "cursor", "wave", "on-cell", "background"];

/** trigger(name, data), when given, is told of choices that the page's other parts share: "convention", and "part". */
export function mount(root, trigger = null) {
  return new AlignmentView(root, trigger);
}

class AlignmentView {
  constructor(root, trigger) {
    this.root = root;
    this.trigger = trigger;
    this.result = null;
    this.atS = null;
    this.active = 0;
    this.padded = false;
    this.convention = null; // of the spans, once a person chose one
    this.player = new Player(() => this.invalidate());
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.scroller);
    // Gradio's theme is a class on the body; a page of our own sets the same class.
    new MutationObserver(() => this.restyle()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }

  build() {
    this.playButton = button("Play", "Play the recording", () => this.togglePlay());
    this.playButton.className = "play";
    this.help = helpDialog();
    this.toolbar = node("div", "toolbar");
    this.summary = node("p", "summary");
    this.minimap = new Minimap((part) => this.centre(part * this.result.durationS));
    this.gutter = node("div", "gutter");
    this.gutter.setAttribute("aria-hidden", "true");
    this.canvas = node("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.track = node("div", "track");
    this.track.append(this.canvas);
    this.scroller = node("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "group");
    this.scroller.setAttribute("aria-label", "Frames of the recording. Arrow keys step from frame to frame; ? shows all keys.");
    this.scroller.append(this.track);
    const stage = node("div", "stage");
    stage.append(this.gutter, this.scroller);
    this.notes = node("div", "notes");
    this.details = node("div", "details");
    this.details.setAttribute("aria-live", "polite");
    this.empty = node("p", "empty", "Record, upload or pick an example: every frame that the model hears will appear here.");
    this.body = node("div", "body");
    this.body.hidden = true;
    this.body.append(this.toolbar, this.minimap.element, stage, this.details, this.notes, this.summary, this.help);
    this.root.replaceChildren(this.empty, this.body);

    this.scroller.addEventListener("scroll", () => this.invalidate());
    listen(this);
  }

  /** Draw a payload, or nothing for null. */
  async show(payload) {
    const request = (this.request = Symbol());
    const result = payload ? await decode(payload) : null;
    if (request !== this.request) return; // a newer result overtook this one
    this.empty.hidden = result !== null;
    this.body.hidden = result === null;
    const sameSound = result && this.result && result.audioUrl === this.result.audioUrl;
    const kept = sameSound ? { left: this.scroller.scrollLeft, perSecond: this.perSecond, atS: this.atS } : null;
    this.result = result;
    if (!result) return this.player.load(null);
    setConvention(result, this.convention ?? result.convention);
    this.rows = layOut(result.lanes, result.mel.frames > 0, result.track !== null);
    this.playButton.disabled = result.mel.frames === 0;
    this.active = 0;
    this.difference = -1; // the first comes next
    this.text?.remove();
    this.text = new TextLayer(this.track, result, this.rows, {
      play: (span, lane) => this.playSpan(span, lane), zoomTo: (span) => this.zoomToSpan(span), playTimed: (word) => this.playTimed(word),
    });
    this.track.style.height = `${this.rows.height}px`;
    this.buildToolbar();
    this.buildTexts();
    if (!sameSound) {
      this.peaks = null;
      this.player.load(result.audioUrl, (buffer) => {
        this.peaks = new Peaks(buffer);
        this.minimap.prepare(this.peaks, this.result, this.colours);
        this.invalidate();
      });
    }
    this.perSecond = kept?.perSecond ?? Math.max(this.fit, COMFORTABLE_PIXELS_PER_FRAME / result.lanes[0].frameS);
    this.restyle();
    this.resize();
    this.scroller.scrollLeft = kept?.left ?? 0;
    const first = result.lanes[0].tokens[0]?.first ?? 0;
    this.atS = null;
    this.select(kept?.atS ?? (first + 0.5) * result.lanes[0].frameS, 0);
    if (result.focus) this.lookAt(result.focus);
  }

  /** The toolbar anew; what had the focus in it has it again, or the frames have it. */
  buildToolbar() {
    const pressed = this.toolbar.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.toolbar.replaceChildren(...toolbarFor(this));
    if (!pressed) return;
    const again = [...this.toolbar.querySelectorAll("button, select")].find((each) => each.getAttribute("aria-label") === pressed);
    (again?.disabled === false ? again : this.scroller).focus();
  }

  buildTexts() {
    const { result, rows } = this;
    this.gutter.style.height = `${rows.height}px`;
    this.gutter.replaceChildren(...rows.captions.map(({ text, y }) => {
      const caption = node("span", "", text);
      caption.style.top = `${y}px`;
      return caption;
    }));
    const { frames, frameS, path, blank, tokens } = result.lanes[0];
    const blanks = path.reduce((count, token) => count + (token === blank), 0);
    this.summary.textContent =
      `${frames} frames of ${Math.round(frameS * 1000)} ms: ${blanks} blanks dropped, ` +
      `${frames - blanks - tokens.length} repeats merged, ${tokens.length} tokens kept. Score: ${result.score}. ` +
      `Confidence, the line below a word: ${result.confidence}. ` +
      `Spans by ${result.convention}: ${result.conventions[result.convention]}.`;
    const notes = result.lanes.filter(({ note }) => note).map(({ name, note }) => {
      const paragraph = node("p");
      paragraph.append(node("strong", "", `${name}: `), node("span", "", note));
      return paragraph;
    });
    if (result.differences.length) {
      notes.push(node("p", "legend", "Letters that differ are coloured and marked: wavy line, another letter; dashed box, only in this lane."));
    }
    if (result.track) notes.push(node("p", "legend", legend(result.track)));
    this.notes.replaceChildren(...notes);
  }

  // Zoom and place

  get fit() {
    return this.scroller.clientWidth / this.result.durationS;
  }

  get frameS() {
    return this.result.lanes[this.active].frameS;
  }

  resize() {
    if (!this.result || !this.scroller.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.scroller.clientWidth * ratio;
    this.canvas.height = this.rows.height * ratio;
    this.canvas.style.width = `${this.scroller.clientWidth}px`;
    this.canvas.style.height = `${this.rows.height}px`;
    this.minimap.prepare(this.peaks, this.result, this.colours);
    this.zoomTo(this.perSecond, 0);
  }

  /** Multiply the zoom, keeping what is `x` pixels from the left edge where it is. */
  zoom(factor, x = this.scroller.clientWidth / 2) {
    this.zoomTo(this.perSecond * factor, x);
  }

  zoomTo(perSecond, x = 0) {
    const time = (this.scroller.scrollLeft + x) / this.perSecond;
    const most = Math.max(this.fit, MAX_PIXELS_PER_FRAME / this.frameS);
    this.perSecond = Math.min(most, Math.max(this.fit, perSecond));
    this.track.style.width = `${this.perSecond * this.result.durationS}px`;
    this.scroller.scrollLeft = time * this.perSecond - x;
    this.relay();
  }

  zoomToSpan({ startS, endS }) {
    this.zoomTo((this.scroller.clientWidth * 0.6) / (endS - startS));
    this.centre((startS + endS) / 2);
  }

  /** Explain the first of some frames of a lane, and bring them to the middle, large enough to be read. */
  lookAt({ lane, first, last }) {
    const { frameS } = this.result.lanes[lane];
    this.select((first + 0.5) * frameS, lane);
    const whole = (this.scroller.clientWidth * 0.6) / ((last - first + 1) * frameS);
    this.zoomTo(Math.min(whole, FOCUS_PIXELS_PER_FRAME / frameS));
    this.centre(((first + last + 1) / 2) * frameS);
  }

  centre(timeS) {
    this.scroller.scrollLeft = timeS * this.perSecond - this.scroller.clientWidth / 2;
  }

  reveal(timeS) {
    const x = timeS * this.perSecond - this.scroller.scrollLeft;
    if (x < 0 || x > this.scroller.clientWidth) this.centre(timeS);
  }

  // Drawing

  restyle() {
    if (!this.result) return;
    const style = getComputedStyle(this.root);
    const colour = (name) => style.getPropertyValue(`--lens-${name}`).trim();
    this.colours = Object.fromEntries(COLOURS.map((name) => [name, colour(name)]));
    this.colours.onCell = this.colours["on-cell"];
    this.colours.font = (size, weight = 400) => `${weight} ${size}px ${style.fontFamily}`;
    const dark = colour("scheme") === "dark";
    const { mel, lanes: [lane] } = this.result;
    // A feature frame is centred on its time, so it is drawn half a frame early.
    const melAt = (column, bin) => mel.values[column * mel.bins + bin];
    this.spectrogram = new Tiles({ columns: mel.frames, rows: mel.bins, columnS: mel.frameS, startS: -mel.frameS / 2, valueAt: melAt, smooth: true }, dark);
    const active = activeTokens(lane);
    const size = lane.labels.length;
    const posteriorAt = (column, row) => lane.posteriors[column * size + active[active.length - 1 - row]];
    this.posteriors = new Tiles({ columns: lane.frames, rows: active.length, columnS: lane.frameS, valueAt: posteriorAt, smooth: false }, dark);
    this.minimap.prepare(this.peaks, this.result, this.colours);
    this.invalidate();
  }

  /** Lay the letters and words out anew with the next drawing. */
  relay() {
    this.laid = null;
    this.invalidate();
  }

  invalidate() {
    if (!this.result || this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      if (this.result && this.root.isConnected) this.draw();
    });
  }

  get scene() {
    const { result, rows, spectrogram, posteriors, peaks, atS, active, colours } = this;
    const view = { left: this.scroller.scrollLeft, width: this.scroller.clientWidth, perSecond: this.perSecond };
    return { result, rows, view, spectrogram, posteriors, peaks, atS, active, cursorS: this.player.cursorS, colours };
  }

  draw() {
    const { playing, cursorS } = this.player;
    if (cursorS !== null) this.follow(cursorS);
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { scene } = this;
    const { left, width, perSecond } = scene.view;
    paint(context, scene);
    this.minimap.draw(left / perSecond / this.result.durationS, (left + width) / perSecond / this.result.durationS, this.colours);
    const half = Math.floor(left / Math.max(1, width / 2));
    if (this.laid !== half) {
      this.laid = half;
      this.text.lay(scene.view);
    }
    this.text.mark(this.atS, playing?.whole ? cursorS : null);
    this.playButton.textContent = playing ? "Stop" : "Play";
    if (playing) this.invalidate();
  }

  /** Keep the playhead in sight. */
  follow(cursorS) {
    const x = cursorS * this.perSecond - this.scroller.scrollLeft;
    if (x < 0 || x > this.scroller.clientWidth * 0.9) this.scroller.scrollLeft += x - this.scroller.clientWidth * 0.1;
  }

  /** What is in sight, letters and words included, as a PNG file. */
  savePicture() {
    const { scene } = this;
    const scale = 2;
    const picture = node("canvas");
    picture.width = scene.view.width * scale;
    picture.height = this.rows.height * scale;
    const context = picture.getContext("2d");
    context.scale(scale, scale);
    paint(context, scene);
    paintText(context, scene);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = this.colours.background;
    context.fillRect(0, 0, scene.view.width, this.rows.height);
    picture.toBlob((blob) => {
      const link = node("a");
      link.href = URL.createObjectURL(blob);
      link.download = "ctc-lens.png";
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  // Selecting and playing

  /** Explain the frame of a lane at a time. */
  select(timeS, lane) {
    const { frameS, frames } = this.result.lanes[lane];
    const frame = Math.max(0, Math.min(frames - 1, Math.floor(timeS / frameS)));
    const atS = (frame + 0.5) * frameS;
    if (atS === this.atS && lane === this.active) return;
    this.atS = atS;
    this.active = lane;
    this.explain();
    this.invalidate();
  }

  get frame() {
    return Math.floor(this.atS / this.frameS);
  }

  explain() {
    this.details.replaceChildren(...explainFrame(this.result, this.result.lanes[this.active], this.frame));
  }

  playSpan(span, lane) {
    this.select((span.first + 0.5) * this.result.lanes[lane].frameS, lane);
    this.player.play(...playRange(span, this.result.durationS, this.padded));
  }

  togglePlay() {
    if (this.player.playing) this.player.stop();
    else this.player.play(0, this.result.durationS, true);
  }

  playTimed(word) {
    this.select((word.startS + word.endS) / 2, this.result.track.lane);
    this.player.play(...playRange(word, this.result.durationS, this.padded));
  }

  goToDifference(step) {
    const { stops } = this.result;
    this.difference = (this.difference + step + stops.length) % stops.length; // round the end
    const { atS, lane } = stops[this.difference];
    this.select(atS, lane);
    this.centre(this.atS);
  }

  /** Explain a frame of the active lane, and bring it into sight. */
  step(frame) {
    this.select((frame + 0.5) * this.frameS, this.active);
    this.reveal(this.atS);
  }
}
