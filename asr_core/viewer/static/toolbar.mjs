// The buttons above the view.

import { button, choice, node } from "./elements.mjs";
import { setConvention } from "./payload.mjs";
import { clock } from "./rules.mjs";

/** The toolbar's elements for what the view shows. */
export function toolbarFor(view) {
  const { result, player } = view;
  const speeds = [[1, "1×"], [0.75, "0.75×"], [0.5, "0.5×"]];
  const speed = choice("Speed", speeds, player.rate, (rate) => (player.rate = Number(rate)));
  const conventions = Object.keys(result.conventions).map((name) => [name, `spans: ${name}`]);
  const spans = choice("Where letters and words begin and end", conventions, result.convention, (name) => {
    view.convention = name;
    setConvention(result, name);
    view.trigger?.("convention", { convention: name });
    view.difference = -1;
    view.buildToolbar();
    view.buildTexts();
    view.resize();
    view.explain();
  });
  const pad = button("Pad", "Play at least 0.3 s around short spans", () => {
    view.padded = !view.padded;
    pad.setAttribute("aria-pressed", view.padded);
  });
  pad.setAttribute("aria-pressed", view.padded);
  const elements = [
    view.playButton, speed, pad,
    button("−", "Zoom out", () => view.zoom(1 / 1.5)),
    button("+", "Zoom in", () => view.zoom(1.5)),
    button("Fit", "Show the whole recording", () => view.zoomTo(0)),
    spans,
    button("PNG", "Save a picture of what is in sight", () => view.savePicture()),
    button("?", "Help", () => view.help.showModal()),
  ];
  if (result.part.count > 1) elements.push(partsOf(view));
  if (result.stops.length) {
    const group = node("span", "differences");
    group.append(
      button("◀", "Previous difference", () => view.goToDifference(-1)),
      node("span", "", result.stops.length === 1 ? "1 difference" : `${result.stops.length} differences`),
      button("▶", "Next difference", () => view.goToDifference(1)),
    );
    elements.push(group);
  }
  return elements;
}

/** Which part of a long recording is shown; and the ways to its neighbours, where there is a page that can show them. */
function partsOf({ result: { part: { number, count }, startS, durationS }, trigger }) {
  const group = node("span", "parts");
  const to = (text, label, other) => {
    const step = button(text, label, () => trigger("part", { number: other }));
    step.disabled = other < 1 || other > count;
    return step;
  };
  group.append(node("span", "", `part ${number} of ${count}, ${clock(startS)} to ${clock(startS + durationS)}`));
  if (trigger) group.append(to("‹", "Previous part", number - 1), to("›", "Next part", number + 1));
  return group;
}
