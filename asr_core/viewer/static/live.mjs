// Live captions: a button, and the words while one speaks. What stays is black, what may change is grey.
import { node } from "./elements.mjs";
import { listen, packed, reason } from "./microphone.mjs";

const SEND_EVERY_MS = 250;
const MOST_PIECES = 4096; // in a message: 11 s at 48 kHz, where the server was slow
const SHOW_EVERY = 4; // answers: the view is drawn anew about once a second

/** root: where to build. server.feed({id, rate, samples}) answers {committed, tail, seconds} or {error}.
 * trigger("heard" | "finished", {id}) asks the page to show what was heard. */
export function mount(root, server, trigger) {
  const button = node("button", "speak", "Speak");
  button.type = "button";
  const committed = node("span", "committed");
  const tail = node("span", "tail");
  const words = node("p", "caption");
  words.setAttribute("aria-live", "polite");
  words.append(committed, " ", tail);
  const note = node("p", "note", "Your words appear while you speak: black ones stay, grey ones may still change.");
  root.replaceChildren(button, words, note);

  let talk = null; // {id, microphone, pieces, timer, sending}

  async function start() {
    const fresh = { pieces: [], answers: 0, sending: Promise.resolve() };
    button.disabled = true;
    try {
      fresh.microphone = await listen((piece) => fresh.pieces.push(piece));
    } catch (error) {
      note.textContent = reason(error);
      return;
    } finally {
      button.disabled = false;
    }
    talk = Object.assign(fresh, { id: crypto.randomUUID() });
    button.textContent = "Stop";
    note.textContent = "Listening …";
    committed.textContent = tail.textContent = "";
    talk.timer = setInterval(() => send(fresh), SEND_EVERY_MS);
  }

  async function stop() {
    const ending = talk;
    talk = null;
    clearInterval(ending.timer);
    button.textContent = "Speak";
    await ending.microphone.stop();
    await send(ending, true);
  }

  /** One request at a time, in order; what comes meanwhile waits for the next. */
  function send(of, last = false) {
    if (of.busy && !last) return of.sending;
    of.busy = true;
    of.sending = of.sending.then(() => exchange(of, last)).finally(() => (of.busy = false));
    return of.sending;
  }

  async function exchange(of, last) {
    const pieces = of.pieces.splice(0, MOST_PIECES);
    if (of.failed || (!pieces.length && !last)) return;
    const message = { id: of.id, rate: of.microphone.rate, samples: packed(pieces) };
    const answer = await server.feed(message).catch(() => ({ error: "The page lost its server. Load it again." }));
    if (answer.error) {
      of.failed = true;
      note.textContent = answer.error;
      if (talk === of) await stop();
      return;
    }
    if (of.pieces.length >= MOST_PIECES || (last && of.pieces.length)) return exchange(of, last);
    committed.textContent = answer.committed;
    tail.textContent = answer.tail;
    note.textContent = last ? "Your recording is in the view above." : `Listening, ${answer.seconds.toFixed(0)} s …`;
    if (last) trigger("finished", { id: of.id });
    else if (++of.answers % SHOW_EVERY === 0) trigger("heard", { id: of.id });
  }

  button.addEventListener("click", () => (talk ? stop() : start()));
}
