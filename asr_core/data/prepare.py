"""A corpus as it was downloaded -> 16 kHz FLAC files and one manifest, which training reads ten times as fast as MP3 or
Opus and without looking at every file first."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path, PurePath

import numpy as np
import soundfile as sf
from tqdm import tqdm

from asr_core import audio
from asr_core.data.utterances import MANIFEST_COLUMNS, DataError, Utterance, manifest_rows, read_librispeech
from asr_core.files import write_atomically
from asr_core.spelling import suggest
from asr_core.text import Alphabet

SAMPLE_RATE = 16_000
MP3_LEVELS = (0.7, 0.92)  # libsndfile's levels of compression: at 16 kHz about 56 to 20 kbit/s
COMMON_VOICE = {"train.tsv": "train", "dev.tsv": "valid", "test.tsv": "test"}  # its files and their splits


@dataclass(frozen=True)
class Source:
    """One utterance of the corpus; text as it was written there."""

    utterance: Utterance
    split: str


def read_corpus(source: Path) -> list[Source]:
    """A manifest, or a folder of LibriSpeech's layout (train-*, dev-*, test-*) or of Common Voice's (train.tsv, clips/)."""
    if source.is_file():
        return [Source(utterance, split) for split, utterance in manifest_rows(source)]
    if not source.is_dir():
        raise DataError(f"There is no file or folder {source}. Name a manifest .tsv or a corpus folder.")
    if any((source / name).is_file() for name in COMMON_VOICE):
        return [each for name, split in COMMON_VOICE.items() for each in _common_voice(source / name, split)]
    return [Source(each, _librispeech_split(each.path, source)) for each in read_librispeech(source)]


def _librispeech_split(path: Path, root: Path) -> str:
    """By the folder that names the subset."""
    subset = next((part for part in path.parts[len(root.parent.parts) :] if "-" in part), "train")
    return {"dev": "valid", "test": "test"}.get(subset.split("-")[0], "train")


def _common_voice(table: Path, split: str) -> Iterator[Source]:
    if not table.is_file():
        return
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if missing := {"client_id", "path", "sentence"} - set(rows.fieldnames or ()):
                raise DataError(f"{table.name} is not Common Voice's: its header lacks {', '.join(sorted(missing))}.")
            for row in rows:
                path = table.parent / "clips" / (row["path"] or "")
                yield Source(Utterance(path.stem, path, row["sentence"] or "", 0.0, row["client_id"] or ""), split)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table.name} is not Common Voice's: {error}.") from error


def prepare(sources: Sequence[Source], out: Path, workers: int, report: Callable[[str], None], as_mp3: bool = False) -> int:
    """Write OUT/audio/SPLIT/ID.flac for each, and OUT/manifest.tsv of those that could be used. Returns how many.

    What is there already is kept, so that an interrupted run goes on. report: gets a sentence about each that is left out.
    as_mp3: write OUT/audio/SPLIT/ID-mp3.flac, the sound as MP3 would have left it.
    """
    jobs = [(source, out, as_mp3) for source in sources]
    lines = ["\t".join(MANIFEST_COLUMNS)]
    with get_context("spawn").Pool(workers) as pool:  # forked threads of torch would hang
        done = pool.imap(_prepare, jobs, chunksize=16)
        for source, result in tqdm(zip(sources, done, strict=True), "preparing", len(jobs), unit="utterance", mininterval=1):
            if isinstance(result, str):
                report(f"Left out {source.utterance.id}: {result}")
            else:
                path = result.path.relative_to(out).as_posix()
                speaker = result.speaker.replace("\t", " ")
                lines.append(f"{path}\t{speaker}\t{source.split}\t{result.duration_s:.3f}\t{result.text}")
    if len(lines) == 1:
        raise DataError("No utterance of this corpus could be used.")
    write_atomically(out / "manifest.tsv", ("\n".join(lines) + "\n").encode())
    return len(lines) - 1


def _prepare(job: tuple[Source, Path, bool]) -> Utterance | str:
    """The utterance as the manifest has it, or why it is left out."""
    source, out, as_mp3 = job
    utterance = source.utterance
    text = suggest(utterance.text, Alphabet())
    if not text:
        return f"nothing can be spelt of its text {utterance.text[:40]!r}."
    path = out / "audio" / _inside(f"{source.split}/{utterance.id}{'-mp3' * as_mp3}.flac")
    try:
        if path.exists():
            return replace(utterance, path=path, text=text, duration_s=sf.info(path).duration)
        samples = audio.load(utterance.path, SAMPLE_RATE)
        if as_mp3:  # the same the next time, too
            samples = code_as_mp3(samples, random.Random(utterance.id).uniform(*MP3_LEVELS))
    except (audio.AudioError, OSError, sf.LibsndfileError) as error:
        return str(error)
    flac = io.BytesIO()
    sf.write(flac, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(path, flac.getvalue())  # what hinders it would hinder all the others too, so it ends the run
    return replace(utterance, path=path, text=text, duration_s=len(samples) / SAMPLE_RATE)


def code_as_mp3(samples: np.ndarray, compression: float) -> np.ndarray:
    """(S,) -> (S',) at SAMPLE_RATE, written as MP3 and read again: it may lay some 80 ms of silence around the sound.

    compression: libsndfile's level, 0 to 0.99: the higher, the fewer bits.
    """
    file = io.BytesIO()
    coding = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": compression}
    sf.write(file, samples, SAMPLE_RATE, **coding)
    file.seek(0)
    return sf.read(file, dtype="float32")[0]


def _inside(name: str) -> PurePath:
    """A path that leads nowhere but down: a manifest may name files anywhere, and what is written stays in one folder."""
    path = PurePath(name)
    return PurePath(*("up" if part == ".." else part for part in path.parts if part != path.anchor))
