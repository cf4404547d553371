"""Word errors and time of several recognisers, ours and other programs', on the same clips in one run.

Each is in a process of its own, which has so many threads. All read a clip before any reads the next, and each comes first
in turn, so that whatever else the machine does hits all alike. The time is that from samples in memory to text.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from asr_core import audio, peers
from asr_core.audio import AudioError
from asr_core.benchmark import RATE, ROOT, BenchmarkError, failure
from asr_core.checkpoint import CheckpointError
from asr_core.data.batches import Skipped
from asr_core.data.utterances import DataError, Utterance
from asr_core.metrics import ErrorCounts, word_errors
from asr_core.peers import Recognise
from asr_core.transcriber import DECODERS, Transcriber

SERVE = """
import json, sys
from asr_core.side_by_side import serve
serve(*json.loads(sys.argv[1]))
"""


@dataclass(frozen=True)
class System:
    """A recogniser. source: a checkpoint, or a name that peers.load knows. shown: what it is called in a table."""

    source: str
    shown: str
    is_peer: bool = False


@dataclass(frozen=True)
class Row:
    """One recogniser with one decoder on all clips. words: its errors, after the normaliser. compute_s: seconds from samples
    to text, of all clips. times_first: how often that is the first row's."""

    system: str
    decoder: str
    threads: int
    words: ErrorCounts
    compute_s: float
    audio_s: float
    times_first: float

    @property
    def real_time_factor(self) -> float:
        return self.compute_s / self.audio_s


@dataclass(frozen=True)
class Outcome:
    """rows: for each decoder of each system, in their order."""

    rows: tuple[Row, ...]
    clips: int
    skipped: tuple[Skipped, ...]


def side_by_side(
    systems: Sequence[System], utterances: Iterable[Utterance], threads: int, normalise: Callable[[str], str]
) -> Outcome:
    """What comes of every clip, each read once by every decoder of every system. Raises BenchmarkError, DataError."""
    skipped: list[Skipped] = []
    clips, audio_s = 0, 0.0
    with ExitStack() as running:
        processes = [running.enter_context(Process(system, threads)) for system in systems]
        turns = [(process, decoder) for process in processes for decoder in process.decoders()]
        words, compute_s = [ErrorCounts()] * len(turns), [0.0] * len(turns)
        for utterance in utterances:
            try:
                samples = audio.load(utterance.path, RATE)  # (S,)
            except AudioError as error:
                skipped.append(Skipped(utterance.id, str(error)))
                continue
            if not clips:
                for process, decoder in turns:
                    process.read(samples, decoder)  # the first time takes longer than any other
            reference = normalise(utterance.text)
            for turn in order(len(turns), clips):
                process, decoder = turns[turn]
                text, seconds = process.read(samples, decoder)
                words[turn] += word_errors(reference, normalise(text))
                compute_s[turn] += seconds
            clips += 1
            audio_s += len(samples) / RATE
    if not clips:
        raise DataError(f"No utterance could be read. {skipped[0].id}: {skipped[0].reason}")
    rows = [
        Row(process.system.shown, decoder, threads, words[turn], compute_s[turn], audio_s, compute_s[turn] / compute_s[0])
        for turn, (process, decoder) in enumerate(turns)
    ]
    return Outcome(tuple(rows), clips, tuple(skipped))


def order(turns: int, clip: int) -> list[int]:
    """In which they read that clip: each comes first as often as any other, and after each of its neighbours."""
    first = clip % turns
    round_about = [*range(first, turns), *range(first)]
    return round_about if clip // turns % 2 == 0 else round_about[::-1]


class Process:
    """A recogniser in a process of its own, which is ended when the `with` block is left."""

    def __init__(self, system: System, threads: int) -> None:
        self.system = system
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        # Threads by name, too, since numpy's products of matrices, which prepare Whisper's features, have no other way.
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", SERVE, json.dumps([system.source, system.is_peer, threads])]
        pipe, self._said = subprocess.PIPE, tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process lasts)
        # A session of its own: Ctrl-C reaches this process alone, which ends that one.
        options = {"stdin": pipe, "stdout": pipe, "stderr": self._said, "start_new_session": True}
        self._process = subprocess.Popen(command, env=environment, **options)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def decoders(self) -> list[str]:
        """Once, before anything is read. Raises BenchmarkError."""
        return self._answer()["decoders"]

    def read(self, samples: np.ndarray, decoder: str) -> tuple[str, float]:
        """(S,) -> its text, and the seconds that it took. Raises BenchmarkError."""
        with suppress(BrokenPipeError):  # it has died, and the answer will be missing
            self._process.stdin.write(json.dumps([decoder, len(samples)]).encode() + b"\n" + samples.tobytes())
            self._process.stdin.flush()
        answer = self._answer()
        return answer["text"], answer["seconds"]

    def _answer(self) -> dict:
        if line := self._process.stdout.readline():
            answer = json.loads(line)
            if "refused" in answer:
                raise BenchmarkError(answer["refused"])
            return answer
        code = self._process.wait()
        self._said.seek(0)
        raise failure(code, self._said.read().decode(errors="replace"))


def serve(source: str, is_peer: bool, threads: int) -> None:
    """What the process does. Writes its decoders, or why there are none; then reads a decoder and samples from the standard
    input, time after time, and writes their text and the seconds that it took. A line of JSON for each."""
    answers = open(os.dup(1), "w", encoding="utf-8")  # noqa: SIM115 (as long as the process lasts)
    os.dup2(2, 1)  # whatever a library prints

    def answer(**said: object) -> None:
        print(json.dumps(said), file=answers, flush=True)

    torch.set_num_threads(threads)
    try:
        decoders = {"greedy": peers.load(source, threads)} if is_peer else ours(source)
    except (BenchmarkError, CheckpointError) as error:
        answer(refused=str(error))
        return
    answer(decoders=list(decoders))
    while asked := sys.stdin.buffer.readline():
        decoder, length = json.loads(asked)
        samples = np.frombuffer(sys.stdin.buffer.read(4 * length), np.float32).copy()  # that it may be written to
        started = time.perf_counter()
        text = decoders[decoder](samples)
        answer(text=text, seconds=time.perf_counter() - started)


def ours(source: str) -> dict[str, Recognise]:
    """By decoder: all that the page does, words and their times included. Raises CheckpointError."""
    transcriber = Transcriber.from_checkpoint(source)

    def recognise(decoder: str, samples: np.ndarray) -> str:
        return transcriber.transcribe((RATE, samples), decoder).text

    return {each: partial(recognise, each) for each in DECODERS if each == "greedy" or transcriber.lookahead}


def named(checkpoints: Sequence[str], others: Sequence[str]) -> list[System]:
    """Each is called after its folder, or as it was given where two folders have the same name."""
    short = [(source, os.path.basename(os.path.abspath(source)), False) for source in checkpoints]
    for source in others:
        program, _, folder = source.partition(":")
        short.append((source, f"{program} {os.path.basename(os.path.abspath(folder))}", True))
    names = [name for _, name, _ in short]
    return [System(source, name if names.count(name) == 1 else source, is_peer) for source, name, is_peer in short]
