// The alignment view: one time axis from sound to words. mount(element).show(payload) draws; everything else follows
// from pointer, keyboard and scrolling. Text is set with textContent only.

import { decode } from "./payload.mjs";
import { HEIGHT, LETTER_WIDTH, ROWS, SpectrogramTiles, letterX, paint } from "./draw.mjs";
import { explain, nameOf, seconds, spanAt, spansWithin, topTokens } from "./rules.mjs";
import { Player } from "./player.mjs";

const MAX_PIXELS_PER_FRAME = 64;
const COMFORTABLE_PIXELS_PER_FRAME = 15; // a letter fits its cell

function node(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(text, label, onClick) {
  const element = node("button", "", text);
  element.type = "button";
  element.setAttribute("aria-label", label);
  element.title = label;
  element.addEventListener("click", onClick);
  return element;
}

function useStylesheet() {
  const href = new URL("./alignment_view.css", import.meta.url).href;
  if ([...document.styleSheets].some((sheet) => sheet.href === href)) return;
  const link = node("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}

export function mount(root) {
  useStylesheet();
  return new AlignmentView(root);
}

class AlignmentView {
  constructor(root) {
    this.root = root;
    this.result = null;
    this.frame = -1;
    this.perFrame = COMFORTABLE_PIXELS_PER_FRAME;
    this.player = new Player(() => this.invalidate());
    this.build();
    new ResizeObserver(() => this.resize()).observe(this.scroller);
    // Gradio's theme is a class on the body; a page of our own follows the system.
    new MutationObserver(() => this.restyle()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }

  build() {
    this.playButton = button("Play", "Play the recording", () => this.togglePlay());
    this.playButton.className = "play";
    const toolbar = node("div", "toolbar");
    toolbar.append(
      this.playButton,
      button("−", "Zoom out", () => this.zoom(1 / 1.5)),
      button("+", "Zoom in", () => this.zoom(1.5)),
      button("Fit", "Show the whole recording", () => this.zoom(0)),
      (this.summary = node("span", "summary")),
    );
    const gutter = node("div", "gutter");
    for (const { y, height, caption } of Object.values(ROWS)) {
      const label = node("span", "", caption);
      label.style.top = `${y + height / 2}px`;
      gutter.append(label);
    }
    this.canvas = node("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.letters = node("div", "letters");
    this.words = node("div", "words");
    this.letters.style.top = `${ROWS.letters.y}px`;
    this.words.style.top = `${ROWS.words.y}px`;
    this.track = node("div", "track");
    this.track.style.height = `${HEIGHT}px`;
    this.track.append(this.canvas, this.letters, this.words);
    this.scroller = node("div", "scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "group");
    this.scroller.setAttribute("aria-label", "Frames of the recording. Left and right arrows step by frame, Enter plays the letter.");
    this.scroller.append(this.track);
    const stage = node("div", "stage");
    stage.append(gutter, this.scroller);
    this.details = node("div", "details");
    this.details.setAttribute("aria-live", "polite");
    this.empty = node("p", "empty", "Record, upload or pick an example: every frame that the model hears will appear here.");
    this.body = node("div", "body");
    this.body.hidden = true;
    this.body.append(toolbar, stage, this.details);
    this.root.replaceChildren(this.empty, this.body);

    this.scroller.addEventListener("scroll", () => this.invalidate());
    this.scroller.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.scroller.addEventListener("pointermove", (event) => this.select(this.frameAt(event)));
    this.scroller.addEventListener("pointerdown", (event) => this.select(this.frameAt(event)));
    this.scroller.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** Draw a payload, or nothing for null. */
  async show(payload) {
    const request = (this.request = Symbol());
    const result = payload ? await decode(payload) : null;
    if (request !== this.request) return; // a newer result overtook this one
    this.player.load(result?.audioUrl ?? null);
    this.empty.hidden = result !== null;
    this.body.hidden = result === null;
    this.result = result;
    if (!result) return;
    let word = 0;
    for (const token of result.tokens) {
      while (word < result.words.length && token.first > result.words[word].last) word++;
      if (token.label === " " || word === result.words.length) continue;
      token.word = word;
      token.position = result.words[word].letters ?? 0;
      result.words[word].letters = token.position + 1;
    }
    const kept = result.tokens.length;
    const blanks = result.path.reduce((count, token) => count + (token === result.blank), 0);
    this.summary.textContent =
      `${result.frames} frames of ${Math.round(result.frameS * 1000)} ms: ${blanks} blanks dropped, ` +
      `${result.frames - blanks - kept} repeats merged, ${kept} tokens kept`;
    this.frame = -1;
    this.restyle();
    this.resize();
    this.zoomTo(Math.max(this.fit, COMFORTABLE_PIXELS_PER_FRAME), 0);
    this.scroller.scrollLeft = 0;
    this.select(result.tokens[0]?.first ?? 0);
  }

  get fit() {
    return Math.min(MAX_PIXELS_PER_FRAME, this.scroller.clientWidth / this.result.frames);
  }

  resize() {
    if (!this.result || !this.scroller.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.scroller.clientWidth * ratio;
    this.canvas.height = HEIGHT * ratio;
    this.canvas.style.width = `${this.scroller.clientWidth}px`;
    this.canvas.style.height = `${HEIGHT}px`;
    this.zoomTo(this.perFrame, 0);
  }

  restyle() {
    if (!this.result) return;
    const style = getComputedStyle(this.root);
    const colour = (name) => style.getPropertyValue(`--lens-${name}`).trim();
    const names = ["text", "quiet", "line", "accent", "kept", "merged", "cursor"];
    this.colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
    this.colours.onCell = colour("on-cell");
    this.colours.font = (size, weight = 400) => `${weight} ${size}px ${style.fontFamily}`;
    this.tiles = new SpectrogramTiles(this.result.mel, colour("scheme") === "dark");
    this.invalidate();
  }

  /** Multiply the zoom, keeping the middle (or `x` pixels from the left edge) where it is. 0 fits the whole recording. */
  zoom(factor, x = this.scroller.clientWidth / 2) {
    this.zoomTo(factor === 0 ? this.fit : this.perFrame * factor, x);
  }

  zoomTo(perFrame, x) {
    const frame = (this.scroller.scrollLeft + x) / this.perFrame;
    this.perFrame = Math.min(MAX_PIXELS_PER_FRAME, Math.max(this.fit, perFrame));
    this.track.style.width = `${this.perFrame * this.result.frames}px`;
    this.scroller.scrollLeft = frame * this.perFrame - x;
    this.drawn = null;
    this.invalidate();
  }

  invalidate() {
    if (!this.result || this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      if (this.result && this.root.isConnected) this.draw();
    });
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const cursorS = this.player.cursorS;
    if (cursorS !== null) this.follow(cursorS);
    const view = {
      left: this.scroller.scrollLeft, width: this.scroller.clientWidth, perFrame: this.perFrame, frame: this.frame, cursorS,
    };
    paint(context, this.result, this.tiles, view, this.colours);
    this.layOutText(view);
    this.playButton.textContent = cursorS === null ? "Play" : "Stop";
    if (cursorS !== null) this.invalidate();
  }

  /** Keep the playhead in sight. */
  follow(cursorS) {
    const x = (cursorS / this.result.frameS) * this.perFrame - this.scroller.scrollLeft;
    if (x < 0 || x > this.scroller.clientWidth * 0.9) this.scroller.scrollLeft += x - this.scroller.clientWidth * 0.1;
  }

  /** Buttons for the letters and words in sight and a screen to each side; made again only when those change. */
  layOutText({ left, width, perFrame }) {
    const first = Math.floor((left - width) / perFrame);
    const last = Math.ceil((left + 2 * width) / perFrame);
    const page = Math.floor(left / Math.max(1, width / 2));
    if (this.drawn !== page) {
      this.drawn = page;
      const inSight = (spans) => spans.slice(...spansWithin(spans, first, last));
      this.letters.hidden = perFrame < 7;
      this.letters.replaceChildren(...(this.letters.hidden ? [] : inSight(this.result.tokens).map((span) => this.letter(span))));
      this.words.replaceChildren(...inSight(this.result.words).map((span) => this.word(span)));
    }
    for (const element of [...this.letters.children, ...this.words.children]) {
      const { first, last } = element.span;
      element.classList.toggle("lit", this.frame >= first && this.frame <= last);
    }
  }

  letter(span) {
    const name = nameOf(span.label);
    const element = button(span.label === " " ? "␣" : span.label, `${name}, ${this.describe(span)}. Play it.`, () => this.playSpan(span));
    element.className = span.label === " " ? "letter space" : "letter";
    element.tabIndex = -1; // the arrow keys step through frames, and so through letters
    element.style.left = `${letterX(span, this.result, this.perFrame)}px`;
    element.style.width = `${Math.min(this.perFrame, LETTER_WIDTH)}px`;
    element.span = span;
    return element;
  }

  word(span) {
    const element = button(span.label, `${span.label}, ${this.describe(span)}. Play it.`, () => this.playSpan(span));
    element.className = "word";
    element.style.left = `${span.first * this.perFrame}px`;
    element.style.width = `${(span.last + 1 - span.first) * this.perFrame}px`;
    element.style.setProperty("--score", span.score);
    element.span = span;
    return element;
  }

  describe(span) {
    return `${seconds(span.startS)} to ${seconds(span.endS)}, score ${Math.round(span.score * 100)} %`;
  }

  playSpan(span) {
    this.select(span.first);
    this.player.play(span.startS, span.endS);
  }

  togglePlay() {
    if (this.player.playing) this.player.stop();
    else this.player.play(0, this.result.durationS);
  }

  frameAt(event) {
    const x = event.clientX - this.scroller.getBoundingClientRect().left + this.scroller.scrollLeft;
    return Math.floor(x / this.perFrame);
  }

  /** Make a frame the one that is explained. */
  select(frame) {
    const { result } = this;
    frame = Math.max(0, Math.min(result.frames - 1, frame));
    if (frame === this.frame) return;
    this.frame = frame;
    const startS = frame * result.frameS;
    const token = spanAt(result.tokens, frame);
    const word = spanAt(result.words, frame);
    const heading = node("div", "heading");
    heading.append(
      node("strong", "", `Frame ${frame + 1}`),
      node("span", "", `${Math.round(startS * 1000)} to ${Math.round((startS + result.frameS) * 1000)} ms`),
    );
    const rule = node("p", "rule", explain(result, frame));
    const where = node("p", "where");
    if (token) where.append(node("span", "", `${nameOf(token.label)}: ${this.describe(token)}`));
    if (word) where.append(node("span", "", `in “${word.label}”: ${this.describe(word)}`));
    const left = node("div", "what");
    left.append(heading, rule, where);
    const bars = node("ol", "bars");
    for (const { token: id, label, p } of topTokens(result, frame)) {
      const item = node("li", id === result.path[frame] ? "best" : "");
      const bar = node("span", "bar");
      bar.style.setProperty("--p", p);
      item.append(node("span", "token", label), bar, node("span", "percent", `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`));
      bars.append(item);
    }
    this.details.replaceChildren(left, bars);
    this.invalidate();
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey) {
      this.zoom(Math.exp(-event.deltaY / 200), event.clientX - this.scroller.getBoundingClientRect().left);
    } else {
      this.scroller.scrollLeft += Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
    }
  }

  onKey(event) {
    if (event.target !== this.scroller) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.select(this.frame + (event.key === "ArrowLeft" ? -1 : 1));
      this.reveal(this.frame);
    } else if (event.key === "Enter") {
      const token = spanAt(this.result.tokens, this.frame);
      if (token) this.player.play(token.startS, token.endS);
    } else if (event.key === " ") {
      this.togglePlay();
    } else {
      return;
    }
    event.preventDefault();
  }

  reveal(frame) {
    const x = frame * this.perFrame;
    const { scrollLeft, clientWidth } = this.scroller;
    if (x < scrollLeft || x + this.perFrame > scrollLeft + clientWidth) this.scroller.scrollLeft = x - clientWidth / 2;
  }
}
