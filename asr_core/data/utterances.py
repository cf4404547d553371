"""The index of a corpus: which utterances there are. Audio is decoded only when it is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_core import audio
from asr_core.text import normalise

MANIFEST_COLUMNS = ("path", "speaker", "split", "duration_s", "text")


class DataError(ValueError):
    """A corpus that cannot be read; the message says where and what is missing."""


@dataclass(frozen=True, slots=True)
class Utterance:
    id: str
    path: Path
    text: str  # normalised
    duration_s: float
    speaker: str


def read_utterances(source: str | Path, split: str | None = None) -> list[Utterance]:
    """A manifest TSV (rows of `split`, or all) or a folder of LibriSpeech's layout, searched to any depth."""
    source = Path(source)
    if source.is_dir():
        return read_librispeech(source)
    if source.is_file():
        return read_manifest(source, split)
    raise DataError(f"There is no file or folder {source}. Name a manifest .tsv or a LibriSpeech folder.")


def read_manifest(path: Path, split: str | None = None) -> list[Utterance]:
    """The utterances of a split, or all. Tab-separated, with a header and no quoting; `path` is relative to the manifest's
    folder."""
    utterances = [utterance for of, utterance in manifest_rows(path) if split in (None, of)]
    if not utterances:
        raise DataError(f"{path.name} has no rows" + (f" of split {split!r}." if split else "."))
    return utterances


def manifest_rows(path: Path) -> list[tuple[str, Utterance]]:
    """(split, utterance) of every row."""
    return [(row["split"], _utterance(row, path, number)) for number, row in table_rows(path, MANIFEST_COLUMNS)]


def table_rows(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """(line number, value of each column) of a manifest that has at least the needed columns, `path` among them."""
    lines = _lines(path, "manifest")
    columns = lines[0].split("\t")
    if missing := [column for column in needed if column not in columns]:
        raise DataError(f"{path.name} is not a manifest: its header lacks the columns {', '.join(missing)}.")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != len(columns):
            raise DataError(f"{path.name}, line {number}: {len(fields)} fields, but the header has {len(columns)}.")
        row = dict(zip(columns, fields, strict=True))
        if not Path(row["path"]).name or "\0" in row["path"]:
            raise DataError(f"{path.name}, line {number}: the path {row['path']!r} names no file.")
        rows.append((number, row))
    return rows


def _utterance(row: dict[str, str], path: Path, number: int) -> Utterance:
    try:
        duration_s = float(row["duration_s"])
    except ValueError:
        duration_s = math.nan
    if not 0 <= duration_s < math.inf:
        raise DataError(f"{path.name}, line {number}: duration_s is {row['duration_s']!r}, not seconds.")
    return Utterance(
        id=Path(row["path"]).with_suffix("").as_posix(),
        path=path.parent / row["path"],
        text=normalise(row["text"]),
        duration_s=duration_s,
        speaker=row["speaker"],
    )


def _lines(path: Path, what: str) -> list[str]:
    """The lines of a UTF-8 file. splitlines() would also break at U+2028 and its like, inside a sentence."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not a {what}: it is not UTF-8 text.") from error
    except OSError as error:
        raise DataError(f"There is no {what} {path}: {error.strerror}.") from error
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_librispeech(folder: Path) -> list[Utterance]:
    """Every utterance of the `*.trans.txt` files below `folder`: SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac."""
    utterances = []
    for transcripts in sorted(folder.rglob("*.trans.txt")):
        for line in filter(None, _lines(transcripts, "transcript")):
            utterance_id, _, text = line.partition(" ")
            path = transcripts.parent / f"{utterance_id}.flac"
            try:
                seconds = audio.duration_s(path)
            except audio.AudioError:
                seconds = 0.0  # the utterance stays in the index; decoding it says what is wrong, and it is counted
            utterances.append(Utterance(utterance_id, path, normalise(text), seconds, utterance_id.split("-")[0]))
    if not utterances:
        raise DataError(
            f"{folder} holds no LibriSpeech transcripts (*.trans.txt). Name a subset's folder or a manifest .tsv."
        )
    return utterances


def split_speakers(utterances: Iterable[Utterance], speakers: frozenset[str]) -> tuple[list[Utterance], list[Utterance]]:
    """(utterances of these speakers, all the others)."""
    inside, outside = [], []
    for utterance in utterances:
        (inside if utterance.speaker in speakers else outside).append(utterance)
    return inside, outside


def read_speakers(path: str | Path) -> frozenset[str]:
    """One speaker id a line."""
    return frozenset(filter(None, map(str.strip, _lines(Path(path), "list of speakers (one speaker id a line)"))))
