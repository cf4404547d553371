"""How much a beam search should heed the language model: the two weights that make the fewest word errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from asr_core.beam import beam_decode
from asr_core.language_model import LanguageModel
from asr_core.lookahead import Lookahead
from asr_core.metrics import ErrorCounts, word_errors
from asr_core.text import Alphabet

START, STEP, SMALLEST = (0.6, 1.0), (0.2, 1.0), 1 / 4  # (weight, word bonus); steps are halved down to a fourth


def tune(
    emissions: Sequence[tuple[str, Tensor, Tensor]],
    alphabet: Alphabet,
    model: LanguageModel,
    report: Callable[[str], None],
) -> LanguageModel:
    """emissions: (reference, log_probs (1, T', V), lengths (1,)) of utterances -> the model with the weights found.

    A pattern search: try the four neighbours, go to the best, halve the step when none is better.
    """
    lookahead = Lookahead(model, alphabet)
    tried: dict[tuple[float, float], float] = {}

    def error_rate(point: tuple[float, float]) -> float:
        if point not in tried:
            weighted = lookahead.weighted(*point)
            counts = ErrorCounts()
            for reference, log_probs, lengths in emissions:
                counts += word_errors(reference, beam_decode(log_probs, lengths, alphabet, weighted)[0])
            tried[point] = counts.rate
            report(f"weight {point[0]:.3g}, word bonus {point[1]:.3g}: WER {counts.rate:.4f}")
        return tried[point]

    best, size = START, 1.0
    while size >= SMALLEST:
        weight, bonus = best
        around = [(weight + STEP[0] * size, bonus), (max(0.0, weight - STEP[0] * size), bonus)]
        around += [(weight, bonus + STEP[1] * size), (weight, bonus - STEP[1] * size)]
        nearest = min(around, key=error_rate)
        if error_rate(nearest) < error_rate(best):
            best = nearest
        else:
            size /= 2
    return replace(model, weight=best[0], word_bonus=best[1])
