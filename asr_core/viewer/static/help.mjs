// What the view can do, behind the "?".

import { button, node } from "./elements.mjs";

const KEYS = [
  ["← →", "the frame before, the next frame"],
  ["Shift ← →", "the letter before, the next letter"],
  ["↑ ↓", "the other lane, when there are two"],
  ["Enter", "play the letter of this frame"],
  ["Space", "play everything, or stop"],
  ["Escape", "stop"],
  ["+ −", "zoom; also Ctrl and the wheel, or two fingers"],
  ["n p", "next and previous difference between two lanes, or from reference times"],
  ["?", "this help"],
];

export function helpDialog() {
  const dialog = node("dialog", "help");
  dialog.setAttribute("aria-label", "Help");
  const list = node("dl");
  for (const [keys, meaning] of KEYS) list.append(node("dt", "", keys), node("dd", "", meaning));
  const close = button("Close", "Close the help", () => dialog.close());
  dialog.append(
    node("h3", "", "How to look around"),
    node("p", "", "Move over the frames to have them explained. Click a letter or a word to hear it; double-click a word to zoom to it. The keys work when the frames have the focus:"),
    list,
    close,
  );
  return dialog;
}
