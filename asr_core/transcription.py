"""Transcription: what was said, and everything by which it can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asr_core.alignment import CONFIDENCE, CONVENTIONS, SCORE, Span, implausible, token_spans, word_spans
from asr_core.emission import Emission
from asr_core.sound import Sound

if TYPE_CHECKING:
    from asr_core.viewer.notebook import NotebookView


@dataclass(frozen=True, eq=False)
class Transcription:
    """The result of Transcriber.transcribe, and of aligning a text.

    text: the words, separated by single spaces. words, tokens: spans in order of time; tokens include spaces.
    path: the token of each frame, (T',). emission: the log-probabilities behind it. convention: of the spans' times.
    """

    text: str
    words: tuple[Span, ...]
    tokens: tuple[Span, ...]
    path: tuple[int, ...]
    emission: Emission
    sound: Sound
    convention: str = "spike"

    @classmethod
    def of_path(cls, path: tuple[int, ...], emission: Emission, sound: Sound, convention: str = "spike") -> Transcription:
        """The reading of an emission along any path (T',)."""
        tokens = token_spans(emission, path, sound, convention)
        words = word_spans(tokens)
        return cls(" ".join(word.label for word in words), words, tokens, path, emission, sound, convention)

    def with_convention(self, convention: str) -> Transcription:
        """The same reading with its times by another of alignment.CONVENTIONS."""
        other = self.of_path(self.path, self.emission, self.sound, convention)
        return other.with_confidences([word.confidence for word in self.words])

    def with_confidences(self, confidences: Sequence[float]) -> Transcription:
        """The same reading with these for its words, in their order."""
        words = zip(self.words, confidences, strict=True)
        return replace(self, words=tuple(replace(word, confidence=confidence) for word, confidence in words))

    def between(self, start_s: float, end_s: float) -> Transcription:
        """The part from one time to another, to the nearest frame: its own frames, the times of the whole recording.

        Cut between words, its spans are those of the whole; only by `boundary` and `energy` may those beside a cut differ,
        where the pause is shorter than a second.
        """
        frame_s, begins_s = self.emission.frame_s, self.sound.start_s
        first = round((start_s - begins_s) / frame_s)
        stop = len(self.path) if end_s >= self.sound.end_s else round((end_s - begins_s) / frame_s)
        sound = self.sound.between(begins_s + first * frame_s, begins_s + stop * frame_s)
        part = self.of_path(self.path[first:stop], self.emission.between(first, stop), sound, self.convention)
        told = {word.first - first: word.confidence for word in self.words}
        return part.with_confidences([told.get(word.first, word.score) for word in part.words])

    @property
    def duration_s(self) -> float:
        return self.sound.duration_s

    @property
    def warnings(self) -> dict[int, str]:
        """Index of a word -> why its times are hard to believe."""
        return implausible(self.words, self.sound, by_letters=not self.emission.alphabet.opens_words)

    def show(self) -> NotebookView:
        """The alignment view, in a notebook."""
        from asr_core.viewer.notebook import NotebookView  # here: the view is made of transcriptions, not they of it
        from asr_core.viewer.payload import Lane

        return NotebookView(Lane("heard", self))

    def as_dict(self) -> dict:
        """Text, words and tokens with times, scores and the words' confidences, as JSON has them."""

        def written(s: Span) -> dict:
            return {"label": s.label, "start_s": round(s.start_s, 3), "end_s": round(s.end_s, 3), "score": round(s.score, 4)}

        return {
            "audio": self.sound.name,
            "text": self.text,
            "start_s": round(self.sound.start_s, 3),
            "duration_s": round(self.duration_s, 3),
            "frame_s": self.emission.frame_s,
            "score": SCORE,
            "confidence": CONFIDENCE,
            "spans": f"{self.convention}: {CONVENTIONS[self.convention]}",
            "words": [{**written(word), "confidence": round(word.confidence, 4)} for word in self.words],
            "tokens": [written(token) for token in self.tokens],
            "warnings": list(self.warnings.values()),
        }
