"""Two readings of one recording, letter against letter: where they differ, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from asr_core.alignment import Span
from asr_core.transcription import Transcription


@dataclass(frozen=True)
class Difference:
    """A stretch that the first reading has otherwise than the second.

    kind: "substitute", "delete" (only the first has it) or "insert" (only the second has it).
    first, second: [from, to) of each reading's tokens; empty on the side that lacks them. start_s, end_s: seconds.
    """

    kind: str
    first: tuple[int, int]
    second: tuple[int, int]
    start_s: float
    end_s: float


def differences(first: Transcription, second: Transcription) -> tuple[Difference, ...]:
    """The fewest edits that turn the first reading's letters into the second's (Levenshtein), in order of time. Upper and
    lower case are the same letter: one model may write in capitals, and another not."""
    texts = [_letters(first.tokens), _letters(second.tokens)]
    if not texts[0][0] or not texts[1][0]:  # jiwer compares no empty text
        if texts[0][0] == texts[1][0]:
            return ()
        kind = "delete" if texts[0][0] else "insert"
        sides = [(owners[0], owners[-1] + 1) if owners else (0, 0) for _, owners in texts]
        return (_difference(kind, *sides, first.tokens, second.tokens),)
    chunks = jiwer.process_characters(texts[0][0], texts[1][0]).alignments[0]
    found = []
    for chunk in chunks:
        if chunk.type != "equal":
            sides = [
                _token_range(owners, start, stop)
                for (_, owners), start, stop in (
                    (texts[0], chunk.ref_start_idx, chunk.ref_end_idx),
                    (texts[1], chunk.hyp_start_idx, chunk.hyp_end_idx),
                )
            ]
            found.append(_difference(chunk.type, *sides, first.tokens, second.tokens))
    return tuple(found)


def _letters(tokens: Sequence[Span]) -> tuple[str, list[int]]:
    """The reading's text, and the index of the token that each character belongs to.

    A space at an edge, or after another, is no part of the text.
    """
    text, owners, space = "", [], None
    for index, token in enumerate(tokens):
        for character in token.label.lower():
            if character == " ":
                space = index if space is None else space
                continue
            if space is not None and text:
                text += " "
                owners.append(space)
            space = None
            text += character
            owners.append(index)
    return text, owners


def _token_range(owners: list[int], start: int, stop: int) -> tuple[int, int]:
    """[start, stop) in characters -> [from, to) in tokens."""
    if start == stop:
        at = owners[start] if start < len(owners) else (owners[-1] + 1 if owners else 0)
        return at, at
    return owners[start], owners[stop - 1] + 1


def _difference(
    kind: str, one: tuple[int, int], other: tuple[int, int], first: Sequence[Span], second: Sequence[Span]
) -> Difference:
    spans = [*first[slice(*one)], *second[slice(*other)]]
    return Difference(kind, one, other, min(span.start_s for span in spans), max(span.end_s for span in spans))
