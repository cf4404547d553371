"""The tab "Live": captions while one speaks. The browser sends the microphone's samples piece by piece."""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from time import monotonic
from typing import Any

import gradio as gr
import numpy as np

from asr_core.audio import AudioError
from asr_core.page.explorer import LATEST, MODEL_QUEUE, NOTHING_NEW, Explorer, show
from asr_core.stream import Stream
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription
from asr_core.viewer.component import STATIC
from asr_core.viewer.payload import Lane

MOST_SPEAKERS = 8  # at once: each costs a sixth of a core
LONGEST_S = 600.0  # of one talk
FORGOTTEN_S = 60.0  # without a sound from the browser
MOST_BYTES = 2_000_000  # of one message; live.mjs sends at most 1.4 million
SHOWN_S = 8.0  # of the sound in the view while one speaks

ON_LOAD = """/* events: 'heard' 'finished' */
const folder = (window.gradio_config?.root ?? '').replace(/\\/$/, '') + '/gradio_api/file=STATIC/';
import(folder + 'live.mjs').then(({mount}) => mount(element.querySelector('.ctc-live'), server, trigger));
""".replace("STATIC", STATIC.as_posix())
CSS = """
.ctc-live .speak { font-size: 1.1em; padding: 0.5em 1.4em; border-radius: 8px; cursor: pointer;
  border: 1px solid var(--border-color-primary); background: var(--button-primary-background-fill);
  color: var(--button-primary-text-color); }
.ctc-live .caption { font-size: 1.4em; line-height: 1.5; min-height: 3em; margin: 0.6em 0; color: var(--body-text-color); }
.ctc-live .tail { color: var(--body-text-color-subdued); font-style: italic; }
.ctc-live .note { color: var(--body-text-color-subdued); }
"""


class Speakers:
    """The talks that are going on, each under a number that only its own page knows. Nothing outlives its talk.

    Gradio calls from many threads. Whatever looks for a talk, begins or ends one holds `lock`; a talk's stream is used under
    the talk's own, so that nobody waits for another's sound.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self.transcriber = transcriber
        self.lock = threading.Lock()
        self.talks: OrderedDict[str, tuple[Stream, threading.Lock]] = OrderedDict()
        self.heard: dict[str, float] = {}  # when each was last heard

    def feed(self, message: dict[str, Any]) -> dict[str, Any]:
        """{id, rate, samples}: 16-bit samples in base64 -> {committed, tail, seconds}, or {error} with a sentence."""
        try:
            name, rate, packed = str(message["id"])[:64], int(message["rate"]), str(message["samples"])
            if len(packed) > MOST_BYTES:
                return {"error": f"The browser sent over {MOST_BYTES:,} bytes of sound at once. Load the page again."}
            pieces = np.frombuffer(base64.b64decode(packed, validate=True), "<i2")
        except (KeyError, TypeError, ValueError, binascii.Error):
            return {"error": "The browser sent sound that cannot be read. Load the page again."}
        stream, own = self.talk(name)
        if stream is None:
            return {"error": f"{MOST_SPEAKERS} people are speaking already. Try again in a minute, or upload a recording."}
        with own:
            if stream.received > LONGEST_S * stream.rate:
                return {"error": f"A talk may last {LONGEST_S / 60:.0f} minutes here. Stop and begin another."}
            try:
                caption = stream.feed(pieces, rate) if len(pieces) else stream.caption
            except AudioError as error:
                return {"error": str(error)}
            return {"committed": caption.committed[-2_000:], "tail": caption.tail, "seconds": stream.received / stream.rate}

    def recent(self, name: str) -> Transcription | None:
        """The last seconds of a talk, as they are read now; None without a talk, or before there is sound."""
        with self.lock:
            stream, own = self.talks.get(name, (None, None))
        if stream is None:
            return None
        with own:
            return stream.recent(SHOWN_S)

    def finish(self, name: str) -> Transcription | None:
        """Ends a talk: all of it, as one result. None without a talk. Raises AudioError for what is no speech."""
        stream, own = self.end(name) or (None, None)
        if stream is None:
            return None
        with own:
            return stream.finish()

    def talk(self, name: str) -> tuple[Stream | None, threading.Lock]:
        """The talk of that number, new if it is unknown; None when there are too many."""
        now = monotonic()
        with self.lock:
            for old in [old for old, heard in self.heard.items() if now - heard > FORGOTTEN_S]:
                self._forget(old)
            if name not in self.talks:
                if len(self.talks) >= MOST_SPEAKERS:
                    return None, self.lock
                self.talks[name] = self.transcriber.stream(), threading.Lock()
            self.heard[name] = now
            return self.talks[name]

    def end(self, name: str) -> tuple[Stream, threading.Lock] | None:
        with self.lock:
            return self._forget(name)

    def _forget(self, name: str) -> tuple[Stream, threading.Lock] | None:
        """For those who hold the lock."""
        self.heard.pop(name, None)
        return self.talks.pop(name, None)


def build(explorer: Explorer) -> None:
    speakers = Speakers(explorer.transcriber)

    def feed(message: dict) -> dict:
        return speakers.feed(message)

    def show_recent(event: gr.EventData) -> Any:
        """The last seconds, in the view."""
        recent = speakers.recent(event.id)
        return gr.skip() if recent is None else [Lane("live", recent)]

    def finish(event: gr.EventData) -> tuple:
        """The whole talk, as any other recording."""
        try:
            talk = speakers.finish(event.id)
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return NOTHING_NEW if talk is None else show([Lane("live", talk)])

    gr.Markdown("Speak, and read along. The words of the last three seconds may still change; what is older stays.")
    captions = gr.HTML(
        html_template='<div class="ctc-live"></div>',
        css_template=CSS,
        js_on_load=ON_LOAD,
        apply_default_css=False,
        server_functions=[feed],
    )
    captions.heard(show_recent, None, explorer.view, show_progress="hidden", trigger_mode="once", api_visibility="private")
    captions.finished(finish, None, explorer.shown, **LATEST, **MODEL_QUEUE)
