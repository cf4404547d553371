"""Reference tracks: words with times from elsewhere, of somebody's hand or aligner, to stand beside what was heard."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from asr_core.files import readable
from asr_core.sound import Sound
from asr_core.track_formats import READERS, SILENT, Entry, TrackError

MOST_BYTES = 5_000_000  # an hour of words in the wordiest of the formats
MOST_WORDS = 100_000
LONGEST_LABEL = 1_000  # characters: a caption, not a book
BEYOND_S = 2.0  # that a time may lie past the end: captions linger, and formats round


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, or a caption of several that has times as a whole. start_s, end_s: seconds of the whole recording."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Track:
    """name: of the file. words: in order of their beginnings; they may overlap. note: how the file was read, in words."""

    name: str
    words: tuple[TimedWord, ...]
    note: str = ""

    def between(self, start_s: float, end_s: float) -> Track:
        """What has its middle in a part of the recording, with the times of the whole."""
        return replace(self, words=tuple(w for w in self.words if start_s <= (w.start_s + w.end_s) / 2 < end_s))


def load(path: str | Path, sound: Sound) -> Track:
    """FILE.ctm, .TextGrid, .json, .srt or .vtt with the words of a recording.

    Of a CTM of several recordings, that of the sound's name is taken; of a TextGrid's tiers, the one called words, or that
    which says most. A caption of several words stays one. Raises TrackError with a sentence for any other file, and for
    times that are not this recording's.
    """
    path = Path(path)
    name = _shown(path.name)
    try:
        if path.suffix.lower() not in READERS:
            raise TrackError("its name ends in none of .ctm, .TextGrid, .json, .srt and .vtt. Save it as one of them.")
        entries, note = READERS[path.suffix.lower()](_text(path), sound.name)
        words = _checked(entries, sound)
    except RecursionError as error:
        raise TrackError(f"{name} cannot be used: it is nested too deeply for a list of words.") from error
    except TrackError as error:
        raise TrackError(f"{name} cannot be used: {error}") from error
    notes = [note, "Where several words have times as a whole, their outer edges are compared."]
    return Track(name, words, " ".join(filter(None, notes if any(" " in word.label for word in words) else [note])))


def _text(path: Path) -> str:
    """UTF-8, or UTF-16 as Praat writes it, with one kind of line end."""
    try:
        data = readable(path, MOST_BYTES).read_bytes()
    except OSError as error:
        raise TrackError(f"{error.strerror or 'it is no file'}.") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TrackError("it is no text in UTF-8 or UTF-16. Save it as UTF-8.") from error
    if "\0" in text:
        raise TrackError("it is no text: it holds zeros. Save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _checked(entries: list[Entry], sound: Sound) -> tuple[TimedWord, ...]:
    words = []
    for label, start_s, end_s in entries:
        label = _shown(label)
        if label.lower() in SILENT:
            continue
        named = f"“{label[:40]}” at {start_s:.2f} s"
        if len(label) > LONGEST_LABEL:
            raise TrackError(f"{named} has {len(label):,} characters; expected a word or a caption.")
        if start_s < 0:
            raise TrackError(f"{named} begins before the recording does.")
        if end_s < start_s:
            raise TrackError(f"{named} ends at {end_s:.2f} s, before it begins.")
        if end_s > sound.end_s + BEYOND_S:
            raise TrackError(
                f"{named} ends at {end_s:.2f} s, and the recording at {sound.end_s:.2f} s. Expected the times of this "
                "recording, in seconds."
            )
        words.append(TimedWord(label, start_s, end_s))
    if not words:
        raise TrackError("it holds no words.")
    if len(words) > MOST_WORDS:
        raise TrackError(f"it holds {len(words):,} words, and {MOST_WORDS:,} are the most.")
    return tuple(sorted(words, key=lambda word: (word.start_s, word.end_s)))


def _shown(text: str) -> str:
    """On one line, and without the halves of characters that no file can hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", " ".join(text.split()))
