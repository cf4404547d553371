"""A process of its own that reads recordings: batches go in through a pipe, results come out one by one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

import torch

from asr_core.audio import AudioError
from asr_core.batch import Asked, read_batch
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription


class WorkerLost(RuntimeError):
    """The process is gone, perhaps for want of memory."""


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
            self.pipe, theirs = multiprocessing.Pipe()
            arguments = (self.transcriber, theirs, self.niceness)
            self.process = multiprocessing.Process(target=_serve, args=arguments, daemon=True)
            self.process.start()
            theirs.close()

    def read(self, batch: Sequence[Asked]) -> Iterator[tuple[Transcription, ...] | AudioError]:
        """As batch.read_batch. Raises WorkerLost when the process is gone; what came before that is good."""
        try:
            self.pipe.send(batch)
            for _ in batch:
                yield pickle.loads(self.pipe.recv_bytes())
        except (EOFError, MemoryError, OSError) as error:
            raise WorkerLost from error

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


def _serve(transcriber: Transcriber, pipe: Connection, niceness: int) -> None:
    settle()
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(niceness)
    while True:
        for result in read_batch(transcriber, pipe.recv()):
            # By value: torch would send tensors through shared memory, of which a container has 64 MB.
            pipe.send_bytes(pickle.dumps(result, protocol=5))
