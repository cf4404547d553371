"""A process of its own that reads recordings: batches go in through a pipe, results come out one by one."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import multiprocessing.reduction
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import torch

from asr_core.audio import AudioError
from asr_core.batch import Asked, read_batch
from asr_core.spool import Spool
from asr_core.transcriber import Progress, Transcriber
from asr_core.transcription import Transcription

TELL_EVERY_S = 0.5
# Forked processes share the model's memory and are there at once; only Linux can be relied on to fork what has threads.
CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


class WorkerLost(RuntimeError):
    """The process is gone, perhaps for want of memory."""


class Stopped(BaseException):
    """Nobody waits for the reading any more. Not an Exception, so that nothing takes it for a fault of the recording."""


@dataclass(frozen=True)
class SoFar:
    """How far a recording that is read alone is, as Transcriber.transcribe tells it."""

    doing: str
    done_s: float
    whole_s: float | None


class Worker:
    """One process with one thread, which ends with the process that made it. For one caller at a time.

    niceness: how far it stands back when others want the processor, 0 to 19.
    """

    # A process inherits the open ends of every pipe; one that was forked between the making and the closing of another's
    # would keep that one's open.
    starting = threading.Lock()

    def __init__(self, transcriber: Transcriber, niceness: int) -> None:
        self.transcriber, self.niceness = transcriber, niceness
        self._start()

    def _start(self) -> None:
        with self.starting:
            self.pipe, theirs = CONTEXT.Pipe()
            arguments = (self.transcriber, theirs, self.niceness)
            self.process = CONTEXT.Process(target=_serve, args=arguments, daemon=True)
            self.process.start()
            theirs.close()

    def read(self, batch: Sequence[Asked]) -> Iterator[tuple[Transcription, ...] | AudioError | Stopped | SoFar]:
        """As batch.read_batch, and in between how far it is, where that is one recording alone; after `stop` its result is
        Stopped. Raises WorkerLost when the process is gone; what came before that is good."""
        try:
            self.pipe.send(batch)
            results = 0
            while results < len(batch):
                message = pickle.loads(self.pipe.recv_bytes())
                results += not isinstance(message, SoFar)
                yield message
        except (EOFError, MemoryError, OSError) as error:
            raise WorkerLost from error

    def stop(self) -> None:
        """Ends the reading of a recording alone, soon. For who iterates over `read`."""
        self.pipe.send(None)

    def restart(self) -> None:
        self.kill()
        self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def settle() -> None:
    """What a process that works for another does first. Ctrl-C reaches every process of a terminal; the first alone
    decides. When that one is gone, its workers go too: each would wait for ever for somebody to take its results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _let_go(kept: list[int]) -> None:
    """What was open when this process was forked is not its own: connections would not end as long as it lives."""
    lowest = 3
    for descriptor in sorted(kept):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))


def _serve(transcriber: Transcriber, pipe: Connection, niceness: int) -> None:
    if CONTEXT.get_start_method() == "fork":
        _let_go([pipe.fileno(), multiprocessing.parent_process().sentinel])
    settle()
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(niceness)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the process that this one works for is gone
        while True:
            batch = pipe.recv()
            if batch is None:  # to stop what had just been finished
                continue
            try:
                for result in read_batch(transcriber, batch, _teller(pipe)):
                    _send(pipe, result)
            except Stopped as stopped:
                _send(pipe, stopped)


def _teller(pipe: Connection) -> Progress:
    told_s = time.monotonic()

    def tell(doing: str, done_s: float, whole_s: float | None) -> None:
        nonlocal told_s
        if pipe.poll():
            pipe.recv()
            raise Stopped
        if time.monotonic() - told_s > TELL_EVERY_S:
            told_s = time.monotonic()
            _send(pipe, SoFar(doing, done_s, whole_s))

    return tell


def _send(pipe: Connection, message: object) -> None:
    # By value: torch would send tensors through shared memory, of which a container has 64 MB.
    content = io.BytesIO()
    _Pickler(content, protocol=5).dump(message)
    pipe.send_bytes(content.getbuffer())


class _Pickler(pickle.Pickler):
    """What lies on disk stays there: its file changes hands."""

    def reducer_override(self, value: object) -> object:
        if isinstance(value, Spool) and value.descriptor is not None and hasattr(multiprocessing.reduction, "DupFd"):
            return _taken_over, (multiprocessing.reduction.DupFd(value.descriptor), value.row, len(value))
        return NotImplemented


def _taken_over(file: multiprocessing.reduction.DupFd, row: tuple[int, ...], rows: int) -> Spool:
    return Spool.of_file(file.detach(), row, rows)
