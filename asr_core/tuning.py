"""How much a beam search should heed the language model: the weights that make the fewest word errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from asr_core.beam import beam_decode
from asr_core.language_model import LanguageModel
from asr_core.lookahead import Lookahead
from asr_core.metrics import ErrorCounts, word_errors
from asr_core.text import Alphabet

Point = tuple[float, float, float]
START, STEP = (0.7, 0.0, 0.4), (0.2, 1.0, 0.2)  # (weight, word bonus, weight of the prior)
LEAST = (0.0, -1_000.0, 0.0)
SMALLEST = 1 / 4  # steps are halved down to a fourth
RAREST = 1e-4  # a token that these utterances happen to lack is not therefore preferred to all others


def tune(
    emissions: Sequence[tuple[str, Tensor, Tensor]],
    alphabet: Alphabet,
    model: LanguageModel,
    report: Callable[[str], None],
) -> LanguageModel:
    """emissions: (reference, log_probs (1, T', V), lengths (1,)) of utterances -> the model with the weights found, and the
    prior, which needs no references.

    A pattern search: try the six neighbours, go to the best, halve the step when none is better.
    """
    model = replace(model, prior=log_prior(emissions))
    lookahead = Lookahead(model, alphabet)
    tried: dict[Point, float] = {}

    def error_rate(point: Point) -> float:
        if point not in tried:
            weighted = lookahead.weighted(**weights(point))
            counts = ErrorCounts()
            for reference, log_probs, lengths in emissions:
                counts += word_errors(reference, beam_decode(log_probs, lengths, alphabet, weighted)[0])
            tried[point] = counts.rate
            report(f"weight {point[0]:.3g}, word bonus {point[1]:.3g}, prior {point[2]:.3g}: WER {counts.rate:.4f}")
        return tried[point]

    best, size = START, 1.0
    while size >= SMALLEST:
        nearest = min(neighbours(best, size), key=error_rate)
        if error_rate(nearest) < error_rate(best):
            best = nearest
        else:
            size /= 2
    return replace(model, **weights(best))


def log_prior(emissions: Sequence[tuple[str, Tensor, Tensor]]) -> tuple[float, ...]:
    """ln of the mean probability of each token, over all frames (V,)."""
    frames = torch.cat([log_probs[0, : lengths[0]] for _, log_probs, lengths in emissions])  # (N, V)
    mean = frames.double().exp().mean(0).clamp(min=RAREST)
    return tuple(round(value, 4) for value in mean.log().tolist())


def neighbours(point: Point, size: float) -> list[Point]:
    """One step in each direction, where the values mean something."""
    return [
        (*point[:axis], max(LEAST[axis], round(point[axis] + sign * size * STEP[axis], 3)), *point[axis + 1 :])
        for axis in range(len(point))
        for sign in (1, -1)
    ]


def weights(point: Point) -> dict[str, float]:
    """The fields of LanguageModel that a point stands for."""
    return dict(zip(("weight", "word_bonus", "prior_weight"), point, strict=True))
