"""Many people with one model: lines in which recordings wait, bounded by the seconds to wait, and processes that serve them.

Short recordings that wait are read in batches, by a process a core. Long ones have a line of their own, and a process that
stands back behind all others, so that nobody with a sentence waits for somebody's lecture. All of them stand back behind the
process that answers people, in which live captions are made: the system's scheduler sees to it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from asr_core import audio
from asr_core.audio import AudioError
from asr_core.batch import BATCH_S, Asked
from asr_core.many import cores
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription
from asr_core.worker import SoFar, Stopped, Worker, WorkerLost

SHORT_WAIT_S, LONG_WAIT_S = 30.0, 300.0  # nobody is let in who would wait longer
SHORT_NICENESS, LONG_NICENESS = 5, 10
BYTES_A_SECOND = 4_000  # of a file whose header does not tell how long it is: 32 kbit/s
LEAST_S = 1.0  # of audio, that any recording costs
FIRST_GUESS = 0.05  # seconds of work for a second of audio, until some was done
CLOSING = "The page is closing. Try again in a minute."
FORGETTING = 0.9  # what earlier work still counts for, after a batch, in learning how long work takes


class NotServed(RuntimeError):
    """There is no reading, for no fault of the recording; the message says why."""


class Busy(NotServed):
    """The line is too long; the message says when to try again."""


class Left(Exception):
    """There is no reading because its visitor has left the line."""


@dataclass(frozen=True)
class Place:
    """number: in line, from 1; 0 for what is being read. wait_s: expected until the result."""

    number: int
    wait_s: float


@dataclass(eq=False)
class Ticket:
    """A recording in line. visitor: whose; left: they have. seconds: of audio. alone: not to share a batch, since a process
    was lost. so_far: how far it is, where that is told."""

    asked: Asked
    visitor: str
    seconds: float
    line: Line
    alone: bool = False
    left: bool = False
    so_far: SoFar | None = None
    started: float | None = None
    future: Future[tuple[Transcription, ...]] = field(default_factory=Future)

    @property
    def place(self) -> Place:
        return self.line.place(self)

    def result(self) -> tuple[Transcription, ...]:
        """Waits for the reading by each decoder. Raises AudioError, NotServed and Left."""
        return self.future.result()


class Line:
    """Recordings that wait for the same processes, first come, first served."""

    def __init__(self, workers: list[Worker], most_wait_s: float) -> None:
        self.workers, self.most_wait_s = workers, most_wait_s
        self.waiting: deque[Ticket] = deque()
        self.working: list[Ticket] = []
        self.changed = threading.Condition()
        self.work_s, self.audio_s = FIRST_GUESS, 1.0  # of recent batches, the later the more; their ratio is what counts
        self.closed = False
        self.threads = [threading.Thread(target=self._serve, args=(worker,), daemon=True) for worker in workers]
        for thread in self.threads:
            thread.start()

    def enter(self, asked: Asked, visitor: str, seconds: float) -> Ticket:
        """Raises Busy. Who would be the first to wait is always let in."""
        ticket = Ticket(asked, visitor, max(seconds, LEAST_S), self)
        with self.changed:
            over_s = self._work_s([*self.working, *self.waiting]) - self.most_wait_s
            if self.waiting and over_s > 0:
                raise Busy(_busy(len(self.waiting) + len(self.working), over_s))
            self.waiting.append(ticket)
            self.changed.notify()
        return ticket

    def place(self, ticket: Ticket) -> Place:
        with self.changed:
            if ticket in self.waiting:
                number = self.waiting.index(ticket) + 1
                return Place(number, self._work_s([*self.working, *list(self.waiting)[:number]]))
            begun_s = time.monotonic() - ticket.started if ticket.started else 0.0
            return Place(0, max(ticket.seconds * self.work_s / self.audio_s - begun_s, 0.0))

    def leave(self, visitor: str) -> None:
        """What this visitor has waiting, and what is read for them alone; what shares a batch is finished."""
        with self.changed:
            self._dismiss([ticket for ticket in self.waiting if ticket.visitor == visitor], Left())
            for ticket in self.working:
                ticket.left |= ticket.visitor == visitor

    def close(self) -> None:
        """Nobody is served any more; who waits is told so."""
        with self.changed:
            self.closed = True
            self._dismiss(list(self.waiting), NotServed(CLOSING))
            self.changed.notify_all()
        for worker in self.workers:
            worker.kill()
        for thread in self.threads:
            thread.join()

    def _dismiss(self, tickets: list[Ticket], why: Exception) -> None:
        for ticket in tickets:
            self.waiting.remove(ticket)
            _settle(ticket, why)

    def _work_s(self, tickets: list[Ticket]) -> float:
        """Seconds that all processes together take for them."""
        return sum(ticket.seconds for ticket in tickets) * self.work_s / self.audio_s / len(self.workers)

    def _serve(self, worker: Worker) -> None:
        """One thread for each process: it hands the process what waits, as long as there is a line."""
        while batch := self._next_batch():
            start = time.monotonic()
            self._read(worker, batch)
            with self.changed:
                self.working = [ticket for ticket in self.working if ticket not in batch]
                self.work_s = FORGETTING * self.work_s + time.monotonic() - start
                self.audio_s = FORGETTING * self.audio_s + sum(ticket.seconds for ticket in batch)

    def _next_batch(self) -> list[Ticket]:
        """Those in front, as many as make a batch and leave some for the other processes; nobody is overtaken."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            most = math.ceil(len(self.waiting) / len(self.workers))
            batch: list[Ticket] = []
            while self.waiting and len(batch) < most:
                grown = [*batch, self.waiting[0]]
                padded_s = max(ticket.seconds for ticket in grown) * len(grown)
                if batch and (padded_s > BATCH_S or any(ticket.alone for ticket in grown)):
                    break
                batch.append(self.waiting.popleft())
            for ticket in batch:
                ticket.started = time.monotonic()
            self.working += batch
            return batch

    def _read(self, worker: Worker, batch: list[Ticket]) -> None:
        left = deque(batch)
        try:
            for result in worker.read([ticket.asked for ticket in batch]):
                if isinstance(result, SoFar):
                    left[0].so_far = result
                    if left[0].left:
                        worker.stop()
                else:
                    _settle(left.popleft(), Left() if isinstance(result, Stopped) else result)
        except WorkerLost:
            if self.closed:
                for ticket in left:
                    _settle(ticket, NotServed(CLOSING))
                return
            worker.restart()
            if len(left) == 1:
                name = left[0].asked.path.name
                sentence = (
                    f"{name} took down the process that was reading it, perhaps for want of memory. Try a shorter one."
                )
                _settle(left.popleft(), AudioError(sentence))
            with self.changed:  # one of them did it: each is tried again, by itself
                for ticket in reversed(left):
                    ticket.alone, ticket.started = True, None
                    self.waiting.appendleft(ticket)
                self.changed.notify_all()


class Reception:
    """Lets people in, or says when to come again. Made once, before there are other threads: it starts processes.

    workers: processes for short recordings; None for one a core. There is one more, for long recordings.
    """

    def __init__(self, transcriber: Transcriber, workers: int | None = None) -> None:
        _ = transcriber.lookahead  # here, before there are processes, which share it
        short = [Worker(transcriber, SHORT_NICENESS) for _ in range(workers or cores())]
        long = [Worker(transcriber, LONG_NICENESS)]
        self.short, self.long = Line(short, SHORT_WAIT_S), Line(long, LONG_WAIT_S)

    def enter(self, path: Path, decoders: tuple[str | None, ...] = (None,), visitor: str = "") -> Ticket:
        """A recording, and the decoders by which it is to be read, as Transcriber.transcribe names them. Raises Busy.

        visitor: any name, by which they can leave.
        """
        seconds = _seconds(path)
        line = self.short if seconds <= BATCH_S else self.long
        return line.enter(Asked(path, decoders), visitor, seconds)

    def leave(self, visitor: str) -> None:
        """Takes whatever this visitor has waiting out of the lines, and ends what is read for them alone."""
        self.short.leave(visitor)
        self.long.leave(visitor)

    def close(self) -> None:
        self.short.close()
        self.long.close()


def _seconds(path: Path) -> float:
    """Of audio, as far as can be told without decoding it; reading it will say what is wrong with it."""
    try:
        return audio.duration_s(path)
    except (AudioError, OSError, UnicodeError):
        return path.stat().st_size / BYTES_A_SECOND if path.is_file() else 0.0


def _settle(ticket: Ticket, result: tuple[Transcription, ...] | Exception) -> None:
    if isinstance(result, Exception):
        ticket.future.set_exception(result)
    else:
        ticket.future.set_result(result)


def _busy(people: int, over_s: float) -> str:
    when = f"{math.ceil(over_s)} seconds" if over_s <= 90 else f"{math.ceil(over_s / 60)} minutes"
    return f"{people} people are being served just now. Try again in {when}."
