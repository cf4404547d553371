"""Waiting for a reading, on the page and by the API: without a thread, and so that whoever goes away leaves the line."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

from asr_core.reception import Place, Reception, Ticket
from asr_core.transcription import Transcription

EVERY_S = 0.5  # the place in line is told anew
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


async def enter(reception: Reception, path: str, *decoders: str | None) -> Ticket:
    """A place in line. Raises reception.Busy."""
    return await asyncio.to_thread(reception.enter, Path(path), decoders)  # a header may take a while to read


async def places(ticket: Ticket) -> AsyncIterator[str]:
    """The place in line in words, again and again until the result is there. Whoever stops listening leaves the line."""
    done = asyncio.wrap_future(ticket.future)
    try:
        while not (await asyncio.wait([done], timeout=EVERY_S))[0]:
            yield told(ticket.place)
    finally:
        ticket.leave()


async def reading(ticket: Ticket) -> tuple[Transcription, ...]:
    """The result, when it is there. Raises AudioError."""
    async for _ in places(ticket):
        pass
    return ticket.result()


def told(place: Place) -> str:
    if not place.number:
        return f"Listening{_about(place.wait_s)} …"
    ordinal = ORDINALS[place.number - 1] if place.number <= len(ORDINALS) else f"number {place.number}"
    return f"You are {ordinal} in line{_about(place.wait_s)}."


def _about(seconds: float) -> str:
    if seconds < 1:
        return ""
    return f", about {math.ceil(seconds)} s" if seconds <= 90 else f", about {math.ceil(seconds / 60)} minutes"
