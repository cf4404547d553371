"""Transcription: what was said, and everything by which it can be explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from asr_core.alignment import SCORE, Span, token_spans, word_spans
from asr_core.emission import Emission


@dataclass(frozen=True, eq=False)
class Transcription:
    """The result of Transcriber.transcribe.

    text: the words, separated by single spaces. words, tokens: spans in order of time; tokens include spaces.
    path: the argmax token of each frame, (T',). emission: the log-probabilities behind it.
    features: (T, M) normalised log-mel frames. samples: (S,) float32 at sample_rate. frame times: emission.frame_s.
    """

    text: str
    words: tuple[Span, ...]
    tokens: tuple[Span, ...]
    path: tuple[int, ...]
    emission: Emission
    features: Tensor
    feature_frame_s: float
    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @classmethod
    def of(
        cls, emission: Emission, features: Tensor, feature_frame_s: float, samples: np.ndarray, sample_rate: int
    ) -> Transcription:
        """The greedy reading of an emission."""
        duration_s = len(samples) / sample_rate
        path = tuple(emission.log_probs.argmax(-1).tolist())
        tokens = token_spans(emission, path, duration_s)
        words = word_spans(emission, tokens, duration_s)
        text = " ".join(word.label for word in words)
        return cls(text, words, tokens, path, emission, features, feature_frame_s, samples, sample_rate)

    def as_dict(self) -> dict:
        """Text, words and tokens with times and scores, as JSON has them."""

        def spans(of: tuple[Span, ...]) -> list[dict]:
            return [
                {"label": s.label, "start_s": round(s.start_s, 3), "end_s": round(s.end_s, 3), "score": round(s.score, 4)}
                for s in of
            ]

        return {
            "text": self.text,
            "duration_s": round(self.duration_s, 3),
            "frame_s": self.emission.frame_s,
            "score": SCORE,
            "words": spans(self.words),
            "tokens": spans(self.tokens),
        }
