"""Waiting for a reading, on the page and by the API, without a thread, and with the place in line in sight."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from asr_core.reception import Place, Reception
from asr_core.transcription import Transcription

EVERY_S = 0.5  # the place in line is told anew
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


async def readings(
    reception: Reception, path: str, decoders: Sequence[str | None], visitor: str, progress: gr.Progress | None = None
) -> tuple[Transcription, ...]:
    """What was heard, by each decoder. progress, where there is one, tells the place in line.

    Raises AudioError, NotServed and Left.
    """
    ticket = await asyncio.to_thread(reception.enter, Path(path), tuple(decoders), visitor)  # a header may take a while
    result, begun = asyncio.wrap_future(ticket.future), time.monotonic()
    while not (await asyncio.wait([result], timeout=EVERY_S))[0]:
        if progress is not None and (so_far := ticket.so_far):  # Gradio's progress counts as empty
            done = round(so_far.done_s), so_far.whole_s and round(so_far.whole_s)
            progress(done, desc=so_far.doing.capitalize(), unit="s")
        elif progress is not None:
            place, waited_s = ticket.place, time.monotonic() - begun
            progress(waited_s / (waited_s + place.wait_s), desc=told(place))  # without a part, Gradio shows no sentence
    return result.result()  # not the ticket's: asyncio would complain of an error that nobody looked at


def told(place: Place) -> str:
    if not place.number:
        return f"Listening{_about(place.wait_s)} …"
    ordinal = ORDINALS[place.number - 1] if place.number <= len(ORDINALS) else f"number {place.number}"
    return f"You are {ordinal} in line{_about(place.wait_s)}."


def _about(seconds: float) -> str:
    if seconds < 1:
        return ""
    return f", about {math.ceil(seconds)} s" if seconds <= 90 else f", about {math.ceil(seconds / 60)} minutes"
