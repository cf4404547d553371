// Pointer, wheel, touch and keys -> what the view does.

import { neighbour, spanAt } from "./rules.mjs";

export function listen(view) {
  const { scroller } = view;
  scroller.addEventListener("pointermove", (event) => event.isPrimary && onPointer(view, event));
  scroller.addEventListener("pointerdown", (event) => event.isPrimary && onPointer(view, event));
  scroller.addEventListener("wheel", (event) => onWheel(view, event), { passive: false });
  scroller.addEventListener("keydown", (event) => onKey(view, event));
  let apart = null; // of two fingers, in pixels
  scroller.addEventListener("touchend", () => (apart = null));
  scroller.addEventListener("touchmove", (event) => {
    if (event.touches.length !== 2) return;
    event.preventDefault();
    const [a, b] = event.touches;
    const now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    if (apart) view.zoom(now / apart, (a.clientX + b.clientX) / 2 - scroller.getBoundingClientRect().left);
    apart = now;
  }, { passive: false });
}

function onPointer(view, event) {
  const { scroller, rows } = view;
  const box = scroller.getBoundingClientRect();
  const timeS = (event.clientX - box.left - scroller.clientLeft + scroller.scrollLeft) / view.perSecond;
  const second = rows.lanes[1]?.title;
  view.select(timeS, second && event.clientY - box.top >= second.y ? 1 : 0);
}

function onWheel(view, event) {
  event.preventDefault();
  if (event.ctrlKey) {
    view.zoom(Math.exp(-event.deltaY / 200), event.clientX - view.scroller.getBoundingClientRect().left);
  } else {
    view.scroller.scrollLeft += Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
  }
}

function onKey(view, event) {
  if (event.target !== view.scroller || event.ctrlKey || event.metaKey || event.altKey) return;
  const { frame, result } = view;
  const lane = result.lanes[view.active];
  const toLetter = (step) => view.step(neighbour(lane.tokens, frame, step)?.first ?? frame);
  const actions = {
    ArrowLeft: () => (event.shiftKey ? toLetter(-1) : view.step(frame - 1)),
    ArrowRight: () => (event.shiftKey ? toLetter(1) : view.step(frame + 1)),
    ArrowUp: () => view.select(view.atS, 0),
    ArrowDown: () => view.select(view.atS, result.lanes.length - 1),
    Enter: () => {
      const token = spanAt(lane.tokens, frame);
      if (token) view.playSpan(token, view.active);
    },
    " ": () => view.togglePlay(),
    Escape: () => view.player.stop(),
    "+": () => view.zoom(1.5),
    "-": () => view.zoom(1 / 1.5),
    n: () => result.stops.length && view.goToDifference(1),
    p: () => result.stops.length && view.goToDifference(-1),
    "?": () => view.help.showModal(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}
