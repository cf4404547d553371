"""Many recordings: batches of like duration, worked on by processes, each result given out when it is finished."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from asr_core import audio
from asr_core.audio import AudioError
from asr_core.batch import BATCH_S, Asked, attempt, read_batch
from asr_core.transcriber import Progress, Transcriber
from asr_core.transcription import Transcription
from asr_core.worker import settle


class WorkersLost(RuntimeError):
    """A process that was at work is gone."""


def transcribe_many(
    transcriber: Transcriber,
    paths: Iterable[str | Path],
    decoder: str | None = None,
    workers: int | None = None,
    make: Callable[[Path, Transcription], Any] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, Any]]:
    """(path, Transcription) of each recording as soon as it is finished, or (path, AudioError) of one that cannot be used.

    The results are those of Transcriber.transcribe, one by one. The longest come first, so that no process is left with a
    long one at the end; whatever is longer than half a batch goes through Transcriber.transcribe itself.

    decoder: as in Transcriber.transcribe. workers: processes, each with one thread; None for one a core; 0 for none, which
    is also what a single batch needs. make: makes something smaller of each result in the process that has it, so that
    less travels; what it returns is given out in the result's place. progress: as in Transcriber.transcribe, of recordings
    that are longer than half a batch and read by this process. Raises WorkersLost.
    """
    lookahead = transcriber.lookahead if decoder != "greedy" else None  # here, before there are processes, which share it
    decoder = decoder or ("beam" if lookahead else "greedy")
    workers = cores() if workers is None else workers
    work = _Work(transcriber, _batches(by_duration(paths), workers), decoder, make)
    if workers == 0 or len(work) < 2:
        yield from chain.from_iterable(work.results(batch, progress) for batch in work.batches)
        return
    loader = DataLoader(work, None, num_workers=min(workers, len(work)), worker_init_fn=_start_worker, in_order=False)
    try:
        for finished in loader:
            yield from pickle.loads(finished)
    except RuntimeError as error:
        raise WorkersLost(
            "A process that was transcribing is gone, perhaps for want of memory. Try fewer workers. What was written so "
            "far is whole: with --out, the same command goes on from it."
        ) from error


def _start_worker(number: int) -> None:
    settle()


def share(paths: Iterable[str | Path], rank: int, processes: int) -> list[Path]:
    """The part of one of several processes: no path is in two, none is left out, and durations are spread evenly.

    Every process has to be given the same paths.
    """
    return [path for _, path in by_duration(paths)][rank::processes]


def cores() -> int:
    """Those that this process may use, shared with the others that torchrun started on this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def by_duration(paths: Iterable[str | Path]) -> list[tuple[float, Path]]:
    """(seconds, path), the longest first. Where the header does not tell, infinite: such a recording is taken for long."""

    def seconds(path: Path) -> float:
        try:
            return audio.duration_s(path)
        except (AudioError, OSError, UnicodeError):  # reading it will say why
            return float("inf")

    return sorted(((seconds(path), path) for path in map(Path, paths)), key=lambda pair: (-pair[0], pair[1]))


def _batches(recordings: Sequence[tuple[float, Path]], workers: int) -> list[list[Path]]:
    """Longest first -> batches of at most BATCH_S, counted as padded; what is longer than half of that has one to itself.

    They are smaller where some workers would otherwise have none.
    """
    most_s = min(BATCH_S, sum(seconds for seconds, _ in recordings) / max(workers, 1))
    batches: list[list[Path]] = []
    longest = 0.0
    for seconds, path in recordings:
        if not batches or longest * (len(batches[-1]) + 1) > most_s:
            batches.append([])
            longest = seconds
        batches[-1].append(path)
    return batches


@dataclass(frozen=True)
class _Work(Dataset):
    """Item i: the results of batch i, as bytes."""

    transcriber: Transcriber
    batches: list[list[Path]]
    decoder: str
    make: Callable[[Path, Transcription], Any] | None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> bytes:
        # By value, read by nobody but the process that started this one. torch would send tensors through shared memory, of
        # which a container has 64 MB, and hold a file open for each.
        return pickle.dumps(self.results(self.batches[index]))

    def results(self, paths: list[Path], progress: Progress | None = None) -> list[tuple[Path, Any]]:
        asked = [Asked(path, (self.decoder,)) for path in paths]
        results = []
        for path, read in zip(paths, read_batch(self.transcriber, asked, progress), strict=True):
            result = read if isinstance(read, AudioError) else read[0]
            if self.make and not isinstance(result, AudioError):
                result = attempt(path, self.make, path, result)
            results.append((path, result))
        return results
