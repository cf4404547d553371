// Letters and words: buttons laid over the canvas, only those in sight and a screen to each side.

import { describe, secondsOf } from "./details.mjs";
import { button, node } from "./elements.mjs";
import { LETTER_WIDTH, letterX } from "./rows.mjs";
import { nameOf, spansWithin } from "./rules.mjs";
import { relation } from "./tracks.mjs";

const SHAPES = { substitute: "differs other", delete: "differs alone", insert: "differs alone" };

export class TextLayer {
  /** actions: {play(span, lane index), zoomTo(span, lane index), playTimed(word of the track)} */
  constructor(track, result, rows, actions) {
    this.result = result;
    this.rows = rows;
    this.actions = actions;
    this.lanes = result.lanes.map((lane, index) => {
      const { title, letters, words } = rows.lanes[index];
      const parts = { letters: node("div", "letters"), words: node("div", "words") };
      parts.letters.style.top = `${letters.y}px`;
      parts.words.style.top = `${words.y}px`;
      track.append(parts.letters, parts.words);
      if (title) {
        const heading = node("div", "title");
        heading.style.top = `${title.y}px`;
        heading.append(node("strong", "", lane.name), node("span", "", lane.text));
        track.append((parts.title = heading));
      }
      return parts;
    });
    this.timed = rows.track ? this.trackRows(track, rows.track) : [];
  }

  /** The heading and the row of a reference track. */
  trackRows(track, { title, words }) {
    const { name, words: timed } = this.result.track;
    const [heading, row] = [node("div", "title"), node("div", "words timed")];
    heading.style.top = `${title.y}px`;
    heading.append(node("strong", "", name), node("span", "", timed.map(({ label }) => label).join(" ")));
    row.style.top = `${words.y}px`;
    track.append(heading, row);
    return [heading, row];
  }

  remove() {
    for (const { letters, words, title } of this.lanes) {
      letters.remove();
      words.remove();
      title?.remove();
    }
    for (const element of this.timed) element.remove();
  }

  /** Make the buttons again; called when the zoom, the span convention or the half-screen in sight has changed. */
  lay({ left, width, perSecond }) {
    this.lanes.forEach(({ letters, words }, index) => {
      const lane = this.result.lanes[index];
      const perFrame = perSecond * lane.frameS;
      const within = (spans) => spans.slice(...spansWithin(spans, (left - width) / perFrame, (left + 2 * width) / perFrame));
      letters.hidden = perFrame < 7;
      letters.replaceChildren(...(letters.hidden ? [] : within(lane.tokens).map((span) => this.letter(span, index, perFrame))));
      words.replaceChildren(...within(lane.words).map((span) => this.word(span, index, perSecond)));
    });
    const [fromS, toS] = [(left - width) / perSecond, (left + 2 * width) / perSecond];
    const inSight = this.result.track?.words.filter(({ startS, endS }) => endS >= fromS && startS <= toS) ?? [];
    this.timed[1]?.replaceChildren(...inSight.map((word) => this.timedWord(word, perSecond)));
  }

  /** A word of the reference track, at its own times. */
  timedWord(word, perSecond) {
    const label = `${word.label}, ${secondsOf(word, this.result.startS)}, ${relation(word.row)}. Play it.`;
    const element = button(word.label, label, () => this.actions.playTimed(word));
    element.word = word;
    element.className = `word${word.row.differs ? " differs" : ""}`;
    element.style.left = `${word.startS * perSecond}px`;
    element.style.width = `${(word.endS - word.startS) * perSecond}px`;
    element.addEventListener("dblclick", () => this.actions.zoomTo(word));
    return element;
  }

  letter(span, index, perFrame) {
    const isSpace = span.label === " ";
    const element = this.span(span, index, isSpace ? "␣" : span.label.trim(), `${nameOf(span.label)}, ${describe(span, this.result.startS)}. Play it.`);
    element.className = `letter${isSpace ? " space" : ""} ${SHAPES[span.difference] ?? ""}`;
    element.tabIndex = -1; // the arrow keys step through frames, and so through letters
    element.style.left = `${letterX(span, this.result.lanes[index], perFrame)}px`;
    element.style.width = `${Math.min(perFrame, LETTER_WIDTH) * span.label.length}px`;
    return element;
  }

  word(span, index, perSecond) {
    const lane = this.result.lanes[index];
    const warning = lane.warnings[this.result.convention][span.index];
    const text = warning ? `⚠ ${span.label}` : span.label;
    const element = this.span(span, index, text, `${span.label}, ${describe(span, this.result.startS)}. ${warning ?? ""} Play it.`);
    element.className = "word";
    element.style.left = `${span.startS * perSecond}px`;
    element.style.width = `${(span.endS - span.startS) * perSecond}px`;
    element.style.setProperty("--confidence", span.confidence);
    element.addEventListener("dblclick", () => this.actions.zoomTo(span, index));
    return element;
  }

  span(span, index, text, label) {
    const element = button(text, label, () => this.actions.play(span, index));
    element.span = span;
    return element;
  }

  /** Light what belongs to the explained time; grey what the playhead has not reached. */
  mark(atS, cursorS) {
    this.lanes.forEach(({ letters, words }, index) => {
      const { frameS } = this.result.lanes[index];
      const frame = atS === null ? -1 : Math.floor(atS / frameS);
      const heard = cursorS === null ? Infinity : Math.floor(cursorS / frameS);
      for (const element of letters.children) this.markOne(element, frame, element.span.first > heard);
      for (const element of words.children) this.markOne(element, frame, element.span.first > heard);
    });
    for (const element of this.timed[1]?.children ?? []) {
      const { startS, endS } = element.word;
      element.classList.toggle("lit", atS !== null && startS <= atS && atS < endS);
      element.classList.toggle("ahead", cursorS !== null && startS > cursorS);
    }
  }

  markOne(element, frame, ahead) {
    const { first, last } = element.span;
    element.classList.toggle("lit", frame >= first && frame <= last);
    element.classList.toggle("ahead", ahead);
  }
}
