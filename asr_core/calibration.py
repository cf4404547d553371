"""How probable it is that a word is right, from its score and two signs beside it.

A score is the model's own opinion of the letters, and models are too sure of themselves. Platt's scaling mends that: a
logistic regression on words of which it is known whether they were right (Guo et al. 2017, arXiv 1706.04599). Whether the
letters alone spell the word, too, and whether the language model knows it, tell more than the score: what a beam search has
mended is less often right, and what no text ever held is nearly always misspelled.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from asr_core.decoding import collapse, greedy_path
from asr_core.settings import require_number

if TYPE_CHECKING:
    from asr_core.transcription import Transcription

LEAST = 0.001  # of a score and of what it lacks to 1: beyond, odds would mean more than a score can tell
RIDGE = 0.1  # on every number of a calibration, so that there is one even where all words are right
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """ln of the odds that a word is right: offset + score * ln of the odds of its score, + agreed where the letters alone
    spell it, too, + known where the language model knows it. As it stands, the score is the confidence."""

    offset: float = 0.0
    score: float = 1.0
    agreed: float = 0.0
    known: float = 0.0

    def __post_init__(self) -> None:
        require_number(self, "offset", "score", "agreed", "known", least=-100, most=100)

    def confidences(self, evidence: np.ndarray) -> np.ndarray:
        """(N, 3), as evidence_of makes it -> (N,), probabilities that the words are right."""
        return _probability(_with_ones(evidence) @ np.array([self.offset, self.score, self.agreed, self.known]))


def evidence_of(reading: Transcription, vocabulary: Container[str] | None) -> np.ndarray:
    """Of each word (N, 3): ln of the odds of its score; 1 where the best token of each frame, from the middle of the gap
    before it to the middle of the gap behind, spell it, too, else 0; 1 where the vocabulary has it, or there is none."""
    alphabet, words, best = reading.emission.alphabet, reading.words, greedy_path(reading.emission)
    cuts = [0, *((before.last + after.first + 1) // 2 for before, after in pairwise(words)), len(best)]
    evidence = np.empty((len(words), 3))
    for index, (word, (start, stop)) in enumerate(zip(words, pairwise(cuts), strict=False)):
        agreed = alphabet.decode(collapse(best[start:stop], alphabet.blank)).strip(" ") == word.label
        known = vocabulary is None or word.label in vocabulary
        score = min(max(word.score, LEAST), 1 - LEAST)
        evidence[index] = np.log(score / (1 - score)), agreed, known
    return evidence


def fit(evidence: np.ndarray, right: np.ndarray) -> Calibration:
    """(N, 3) and whether each word was right (N,) -> the calibration under which that is most probable, but for a little
    ridge (Newton's method). Of no words nothing is learned."""
    if not len(evidence):
        return Calibration()
    given = _with_ones(evidence * (np.ptp(evidence, axis=0) > 0))  # what is the same for all words tells nothing
    numbers = np.zeros(4)
    for _ in range(100):
        expected = _probability(given @ numbers)
        slope = given.T @ (expected - right) + RIDGE * numbers
        curvature = (given.T * (expected * (1 - expected))) @ given + RIDGE * np.eye(4)
        step = np.linalg.solve(curvature, slope)
        numbers -= step
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(*(round(value, 4) for value in numbers.tolist()))


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015) of words (N,): how far the mean probability is from the part that is
    right, on average over BINS bins of equally many words, from the least probable to the most."""
    order = np.argsort(probabilities, kind="stable")
    bins = [each for each in np.array_split(order, BINS) if len(each)]
    return sum(len(each) * abs(probabilities[each].mean() - right[each].mean()) for each in bins) / len(order)


def _with_ones(evidence: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(evidence), 1)), evidence], axis=1)  # (N, 4)


def _probability(log_odds: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(log_odds / 2)  # the logistic function, which does not overflow
