"""Intervals against every resample that there is, against the normal law, and by how often they hold the truth."""

from itertools import product

import numpy as np
import pytest

from asr_core import bootstrap
from asr_core.bootstrap import FEWEST_SPEAKERS, interval, intervals
from asr_core.evaluation import Decoded, Evaluation
from asr_core.metrics import ErrorCounts


def counts(errors: int, words: int) -> ErrorCounts:
    return ErrorCounts(substitutions=errors, reference=words)


def evaluation_of(*decoded: Decoded) -> Evaluation:
    return Evaluation(ErrorCounts(), ErrorCounts(), 0.0, 1.0, 1.0, decoded, ())


def test_of_five_parts_it_cuts_what_all_resamples_together_say():
    parts = [counts(*each) for each in ((0, 7), (2, 11), (1, 3), (9, 13), (4, 29))]
    rates = []
    for drawn in product(parts, repeat=5):
        whole = sum(drawn, ErrorCounts())
        rates.append(whole.errors / whole.reference)
    least, most = interval(parts)
    assert np.mean(np.array(rates) < least) == pytest.approx(0.025, abs=0.006)  # 10,000 of them were drawn
    assert np.mean(np.array(rates) > most) == pytest.approx(0.025, abs=0.006)


def test_of_many_it_is_that_of_the_normal_law():
    draw = np.random.default_rng(1)
    words = draw.integers(5, 40, 2_000)
    errors = draw.binomial(words, 0.2)
    rate = errors.sum() / words.sum()
    deviation = np.sqrt(((errors - rate * words) ** 2).sum()) / words.sum()  # of a ratio of sums
    least, most = interval([counts(*each) for each in zip(errors.tolist(), words.tolist(), strict=True)])
    assert (least, most) == pytest.approx((rate - 1.96 * deviation, rate + 1.96 * deviation), abs=0.1 * deviation)


def test_over_speakers_it_holds_the_truth_where_over_utterances_it_misses_it(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    draw, held = np.random.default_rng(2), {"speakers": 0, "utterances": 0}
    for _ in range(100):
        levels = np.exp(draw.normal(np.log(0.2), 0.4, 20))  # as different as the validation speakers are
        truth = float(np.exp(np.log(0.2) + 0.4**2 / 2))
        errors = [draw.binomial(20, min(level, 1.0), 30).tolist() for level in levels]  # 30 utterances of 20 words each
        parts = {
            "speakers": [counts(sum(each), 600) for each in errors],
            "utterances": [counts(one, 20) for each in errors for one in each],
        }
        for name, of in parts.items():
            least, most = interval(of)
            held[name] += least <= truth <= most
    assert held["speakers"] >= 82  # 91 by Student's t
    assert held["utterances"] <= 60


def test_of_ten_speakers_the_parts_are_speakers_and_of_fewer_they_are_utterances():
    def spoken(speakers: int) -> Evaluation:
        """Half of the speakers are always understood, the others never; each says four words in two utterances."""
        said = [(f"u{n}", f"s{n % speakers}", "a b", "a b" if n % speakers < speakers // 2 else "x y") for n in range(40)]
        return evaluation_of(*(Decoded(*each) for each in said))

    many, few = intervals(spoken(FEWEST_SPEAKERS)), intervals(spoken(FEWEST_SPEAKERS - 2))
    assert (many.over, few.over) == ("10 speakers", "40 utterances")
    assert many.wer == pytest.approx((0.2, 0.8), abs=0.01)  # of ten coins, two to eight
    assert few.wer == pytest.approx((0.35, 0.65), abs=0.03)  # of forty, fourteen to twenty-six
    assert many.cer[1] < many.wer[1]  # the space is always right


def test_the_same_corpus_has_the_same_interval():
    parts = [counts(errors, 10) for errors in (0, 1, 3, 2, 8, 1)]
    assert interval(parts) == interval(parts)


def test_where_nothing_varies_there_is_no_doubt():
    assert interval([counts(1, 4)] * 30) == (0.25, 0.25)
