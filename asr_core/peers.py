"""Recognisers of other programs, to be measured beside ours: by a name, from samples to text, or a sentence why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from asr_core.benchmark import BenchmarkError, installed

Recognise = Callable[[np.ndarray], str]  # samples (S,) at 16 kHz -> text

FASTER_WHISPER = "faster-whisper"
NEEDED = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")
GREEDY = {  # as near to a greedy CTC path as Whisper comes, and the least work for it
    "language": "en",  # it would spend a pass of the encoder on finding out
    "beam_size": 1,
    "temperature": 0.0,  # alone: by default it tries again at higher ones, where it draws by chance
    "without_timestamps": True,
    "vad_filter": False,
}
SETTINGS = "the CPU in float32, beam 1, temperature 0 alone, language en, no timestamps, no voice activity detection"


def require(name: str) -> dict[str, str]:
    """The versions of the packages behind a peer, if they and its files are there. Raises BenchmarkError."""
    program, colon, folder = name.partition(":")
    if program != FASTER_WHISPER or not folder:
        raise BenchmarkError(f"--peer is {name!r}; it must be {FASTER_WHISPER}:FOLDER.")
    versions = {package: installed(package, f"--peer {FASTER_WHISPER}") for package in (FASTER_WHISPER, "ctranslate2")}
    # Without these files the library would look for them on the Hub, or fail with less of a sentence.
    if missing := [pattern for pattern in NEEDED if not any(Path(folder).glob(pattern))]:
        lacks = f"it lacks {', '.join(missing)}" if Path(folder).is_dir() else "there is no such folder"
        raise BenchmarkError(f"{folder} is no faster-whisper model: {lacks}. Name a folder with {', '.join(NEEDED)} in it.")
    return versions


def load(name: str, threads: int) -> Recognise:
    """A peer that `require` has nothing against. Raises BenchmarkError."""
    folder = name.partition(":")[2]
    try:
        from faster_whisper import WhisperModel  # here, since it is optional

        model = WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=threads, num_workers=1)
    except Exception as error:  # of several libraries' kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BenchmarkError(f"faster-whisper cannot load {folder}: {reason}.") from error

    def recognise(samples: np.ndarray) -> str:
        segments, _ = model.transcribe(samples, **GREEDY)
        return "".join(segment.text for segment in segments)  # here it works: segments come one by one

    return recognise
