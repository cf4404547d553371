"""How far chance may have moved an error rate: the 95 % interval of a bootstrap.

Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation" (ICASSP): draw a corpus of
the same size from independent parts of the one that was measured, with replacement, many times; nineteen of twenty rates
lie within the interval. What one speaker says goes well or badly together, so the parts are speakers, each with all of his
utterances (blocks, as in Liu and Peng 2020, arXiv 1912.09508): drawing single utterances makes intervals too narrow, and
drawing them within the drawn speakers as well would count their chance twice. Of few speakers nothing can be learned about
others; then the parts are utterances, and the interval is one for these speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.evaluation import Evaluation
from asr_core.metrics import ErrorCounts, character_errors, word_errors

RESAMPLES = 10_000
WITHIN = (2.5, 97.5)  # percentiles of the rates
FEWEST_SPEAKERS = 10  # by Student's t an interval over 20 is a tenth too narrow, over 10 a fifth, over 5 two fifths
AT_ONCE = 2**20  # drawn parts: 8 MB
SEED = 0


@dataclass(frozen=True)
class Intervals:
    """wer, cer: (least, most) of 95 %. over: the parts that were drawn, "20 speakers"."""

    wer: tuple[float, float]
    cer: tuple[float, float]
    over: str


def intervals(evaluation: Evaluation) -> Intervals:
    """Of an evaluation that has decoded something."""
    parts, name = list(evaluation.of_speakers().values()), "speakers"
    if len(parts) < FEWEST_SPEAKERS:
        texts, name = [(each.reference, each.hypothesis) for each in evaluation.decoded], "utterances"
        parts = [(word_errors(*pair), character_errors(*pair)) for pair in texts]
    words, characters = zip(*parts, strict=True)
    return Intervals(interval(words), interval(characters), f"{len(parts):,} {name}")


def interval(parts: Sequence[ErrorCounts]) -> tuple[float, float]:
    """(least, most) of 95 % of the rates of all parts together; each has units in its reference."""
    errors, units = (np.array(counts) for counts in zip(*((part.errors, part.reference) for part in parts), strict=True))
    draw, rates, at_once = np.random.default_rng(SEED), [], max(1, AT_ONCE // len(parts))
    for first in range(0, RESAMPLES, at_once):
        drawn = draw.integers(len(parts), size=(min(at_once, RESAMPLES - first), len(parts)))  # (resamples, parts)
        rates.append(errors[drawn].sum(1) / units[drawn].sum(1))
    least, most = np.percentile(np.concatenate(rates), WITHIN).tolist()
    return least, most
