"""Files, folders and manifests -> the recordings in them, each once, under names that no two share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from asr_core.audio import SUFFIXES
from asr_core.data.utterances import DataError, table_rows


@dataclass(frozen=True)
class Recording:
    """name: the path below the folder that all recordings share, such as "anna/clip.wav". stem: the name of its result:
    without the ending, unless that would be the name of another's result."""

    path: Path
    name: str
    stem: str


def find_recordings(sources: Iterable[Path]) -> tuple[list[Recording], list[str]]:
    """The recordings in the order of the sources, folders in that of their names; and a sentence for each source, or
    part of one, in which none can be found.

    sources: audio files, folders (everything below them that ends like audio and is not hidden), and manifests: .tsv with
    a column `path`, relative to the manifest's folder. A file that is not there is among the recordings all the same:
    reading it says so.
    """
    paths: list[Path] = []
    shared: list[Path] = []  # the folders below which names begin
    problems: list[str] = []
    for source in sources:
        if os.path.isdir(source):
            root = _real(source)
            found = list(_below(root, source, set(), problems))
            if not found:
                problems.append(f"{source} holds no audio that can be read ({' '.join(sorted(SUFFIXES))}).")
            shared.append(root)
        elif source.suffix.lower() == ".tsv":
            try:
                found = [_real(source.parent / row["path"]) for _, row in table_rows(source, ("path",))]
            except DataError as error:
                problems.append(str(error))
                continue
            shared += [_real(source.parent), *(path.parent for path in found)]
        else:
            found = [_real(source)]
            shared.append(found[0].parent)
        paths += found
    return _named(list(dict.fromkeys(paths)), shared), problems


def _real(path: Path) -> Path:
    """Absolute, its folder without links: the same recording has the same path whichever way it was found. Its own name is
    kept, though it may be a link: the name is what a person knows it by."""
    if os.path.isdir(path):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def _below(folder: Path, shown: Path, seen: set[str], problems: list[str]) -> Iterator[Path]:
    """Links to folders are followed, but no folder is entered twice, so that a loop of links ends."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problems.append(f"{shown} cannot be opened: {error.strerror}.")
        return
    for entry in entries:
        if entry.name.startswith("."):  # macOS leaves a ._clip.wav, which is no audio, beside each clip.wav
            continue
        if os.path.isdir(entry):
            yield from _below(entry, shown / entry.name, seen, problems)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def _named(paths: list[Path], shared: list[Path]) -> list[Recording]:
    base = os.path.commonpath(shared) if shared else ""
    names = [PurePath(os.path.relpath(path, base)) for path in paths]
    stems = Counter(name.with_suffix("") for name in names)
    taken = set(names)  # "clip.wav" is also the stem of "clip.wav.flac"
    return [
        Recording(path, name.as_posix(), (name if stems[stem] > 1 or stem in taken else stem).as_posix())
        for path, name in zip(paths, names, strict=True)
        for stem in [name.with_suffix("")]
    ]
