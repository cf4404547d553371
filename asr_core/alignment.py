"""Frames -> tokens -> words: which frames made which letter, when, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from asr_core.emission import Emission

SCORE = "mean posterior probability of the token, over the span's own frames"


@dataclass(frozen=True)
class Span:
    """A token or a word on the time axis.

    first, last: its frames, both included. start_s, end_s: the seconds that they cover.
    score: the posterior probability of the token, averaged over its frames; a word's is averaged over the frames of its
    tokens, leaving out the blanks between them.
    """

    label: str
    first: int
    last: int
    start_s: float
    end_s: float
    score: float


def token_spans(emission: Emission, path: Sequence[int], duration_s: float) -> tuple[Span, ...]:
    """The tokens that survive the collapse of `path` (T',), each with the run of frames that was merged into it."""
    probabilities = emission.log_probs.exp()  # (T', V)
    spans = []
    frame = 0
    for token, run in groupby(path):
        first, frame = frame, frame + len(list(run))
        if token != emission.alphabet.blank:
            score = float(probabilities[first:frame, token].mean())
            spans.append(_span(emission, emission.alphabet.labels[token], first, frame - 1, duration_s, score))
    return tuple(spans)


def word_spans(emission: Emission, tokens: Sequence[Span], duration_s: float) -> tuple[Span, ...]:
    """Tokens between spaces, joined: from the first letter's first frame to the last letter's last."""
    words = []
    for is_space, letters in groupby(tokens, key=lambda token: token.label == " "):
        if is_space:
            continue
        letters = list(letters)
        frames = [letter.last - letter.first + 1 for letter in letters]
        score = sum(letter.score * count for letter, count in zip(letters, frames, strict=True)) / sum(frames)
        label = "".join(letter.label for letter in letters)
        words.append(_span(emission, label, letters[0].first, letters[-1].last, duration_s, score))
    return tuple(words)


def _span(emission: Emission, label: str, first: int, last: int, duration_s: float, score: float) -> Span:
    start_s = min(first * emission.frame_s, duration_s)  # the last frame may reach past the last sample
    end_s = min((last + 1) * emission.frame_s, duration_s)
    return Span(label, first, last, start_s, end_s, score)
