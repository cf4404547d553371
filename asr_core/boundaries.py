"""The words heard against the words of a reference track: which belong together, and how far apart their edges are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import jiwer

from asr_core.alignment import Span
from asr_core.text import normalise
from asr_core.tracks import TimedWord, Track
from asr_core.transcription import Transcription

THRESHOLD_MS = 50  # edges further apart are a disagreement; a frame of our model is 40 ms
KINDS = ("same", "different", "missing", "added")


@dataclass(frozen=True)
class Row:
    """heard: the words that belong to one of the track; none where it was not heard. reference: that one; None where only
    the model has a word."""

    heard: tuple[Span, ...]
    reference: TimedWord | None

    @property
    def text(self) -> str:
        """What was heard."""
        return " ".join(word.label for word in self.heard)

    @property
    def kind(self) -> str:
        """One of KINDS. Case and the punctuation around a word make no difference."""
        if self.reference is None:
            return "added"
        if not self.heard:
            return "missing"
        return "same" if _keys(self.text) == _keys(self.reference.label) else "different"

    @property
    def start_ms(self) -> int | None:
        """Heard minus reference; None where one of them is not there."""
        return round(1000 * (self.heard[0].start_s - self.reference.start_s)) if self.heard and self.reference else None

    @property
    def end_ms(self) -> int | None:
        return round(1000 * (self.heard[-1].end_s - self.reference.end_s)) if self.heard and self.reference else None

    @property
    def disagrees(self) -> bool:
        return self.kind != "same" or max(abs(self.start_ms), abs(self.end_ms)) > THRESHOLD_MS


@dataclass(frozen=True, eq=False)
class Comparison:
    """rows: every word heard and every one of the track, once each and in their order."""

    reading: Transcription
    track: Track
    rows: tuple[Row, ...]

    @property
    def disagreements(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.disagrees)

    @property
    def median_start_ms(self) -> float | None:
        """Of the distances, where the words are the same; None where none is."""
        return median([abs(row.start_ms) for row in self.rows if row.kind == "same"] or [None])

    @property
    def median_end_ms(self) -> float | None:
        return median([abs(row.end_ms) for row in self.rows if row.kind == "same"] or [None])


def compare(reading: Transcription, track: Track) -> Comparison:
    """Words belong together that the fewest edits leave alone (Levenshtein). Any other word heard belongs to that of the
    track, among those that are left between its neighbours', which is spoken in its middle. How spans are widened plays no
    part in that, but the distances are those of the reading's convention."""
    begins_s, frame_s = reading.sound.start_s, reading.emission.frame_s
    middles_s = [begins_s + (word.first + word.last + 1) / 2 * frame_s for word in reading.words]
    groups = _groups(reading, track, middles_s)
    limit, limits = len(middles_s), []  # where the next group begins
    for group in reversed(groups):
        limit = group[0] if group else limit
        limits.append(limit)
    rows, taken = [], 0
    for word, group, limit in zip(track.words, groups, reversed(limits), strict=True):
        while taken < limit and (group or middles_s[taken] < word.start_s):
            rows.append(Row((reading.words[taken],), None))
            taken += 1
        stop = group[1] if group else taken
        rows.append(Row(reading.words[taken:stop], word))
        taken = stop
    rows += [Row((word,), None) for word in reading.words[taken:]]
    return Comparison(reading, track, tuple(rows))


def _groups(reading: Transcription, track: Track, middles_s: Sequence[float]) -> list[tuple[int, int] | None]:
    """[first, stop) of the words heard for each word of the track, in order; None for one that was not heard."""
    words = track.words
    groups: list[tuple[int, int] | None] = [None] * len(words)

    def join(heard: int, index: int) -> None:
        first, _ = groups[index] or (heard, heard)
        groups[index] = first, heard + 1

    def is_open(index: int) -> bool:
        """Whether more than one word heard may be the same as one of its own."""
        return 0 <= index < len(words) and " " in words[index].label

    before, next_heard = -1, 0
    for index, heard in [*_same(words, reading.words), (len(words), len(middles_s))]:
        candidate, last = before + (not is_open(before)), index - (not is_open(index))
        for middle in range(next_heard, heard):
            while candidate <= last and words[candidate].end_s <= middles_s[middle]:
                candidate += 1
            if candidate <= last and words[candidate].start_s <= middles_s[middle]:
                join(middle, candidate)
        if index < len(words):
            join(heard, index)
        before, next_heard = index, heard + 1
    return groups


def _same(references: Sequence[TimedWord], heard: Sequence[Span]) -> list[tuple[int, int]]:
    """(of the track, heard): indices of the words that are left alone, both in order; each word heard is in one pair."""
    sides = [
        [(index, key) for index, word in enumerate(words) for key in _keys(word.label)] for words in (references, heard)
    ]
    if not all(sides):  # jiwer compares no empty text
        return []
    texts = [" ".join(key for _, key in side) for side in sides]
    pairs: list[tuple[int, int]] = []
    for chunk in jiwer.process_words(*texts).alignments[0]:
        if chunk.type == "equal":
            sames = sides[0][chunk.ref_start_idx : chunk.ref_end_idx], sides[1][chunk.hyp_start_idx : chunk.hyp_end_idx]
            for (one, _), (other, _) in zip(*sames, strict=True):
                if not pairs or other > pairs[-1][1]:
                    pairs.append((one, other))
    return pairs


def _keys(label: str) -> tuple[str, ...]:
    """What of a label is compared: its words, without dashes, case and the punctuation around them."""
    words = [_bare(word) for word in re.split(r"[\s\-–—]+", normalise(label))]
    return tuple(filter(None, words))


def _bare(word: str) -> str:
    first, stop = 0, len(word)
    while first < stop and unicodedata.category(word[first])[0] == "P":
        first += 1
    while first < stop and unicodedata.category(word[stop - 1])[0] == "P":
        stop -= 1
    return word[first:stop]
