"""Word and character errors as counts that add up: sum the errors, then divide. Never average rates."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer


@dataclass(frozen=True)
class ErrorCounts:
    """Edits that turn references into hypotheses, in words or in characters."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0  # units in the reference

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference + other.reference,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors for each unit of the reference. Without a reference: 0 if nothing was inserted, else infinite."""
        if self.reference == 0:
            return 0.0 if self.errors == 0 else float("inf")
        return self.errors / self.reference


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """WER's counts for one utterance: Levenshtein over words split at spaces."""
    if not reference.split():  # jiwer refuses an empty reference
        return ErrorCounts(insertions=len(hypothesis.split()))
    return _counts(jiwer.process_words(reference, hypothesis))


def words_right(reference: str, hypothesis: str) -> list[bool]:
    """Of each word of the hypothesis, whether the same alignment finds it in the reference."""
    if not reference.split():
        return [False] * len(hypothesis.split())
    chunks = jiwer.process_words(reference, hypothesis).alignments[0]
    return [chunk.type == "equal" for chunk in chunks for _ in range(chunk.hyp_start_idx, chunk.hyp_end_idx)]


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """CER's counts for one utterance: Levenshtein over characters, spaces included."""
    if not reference:
        return ErrorCounts(insertions=len(hypothesis))
    return _counts(jiwer.process_characters(reference, hypothesis))


def _counts(measured: jiwer.WordOutput | jiwer.CharacterOutput) -> ErrorCounts:
    return ErrorCounts(
        measured.substitutions,
        measured.deletions,
        measured.insertions,
        measured.hits + measured.substitutions + measured.deletions,
    )
