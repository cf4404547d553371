"""Spans as the path has them. test_conventions.py tests the other span conventions and the forced path."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic import loud_sound

from asr_core.alignment import token_spans, word_spans
from asr_core.decoding import collapse
from asr_core.emission import Emission
from asr_core.sound import Sound
from asr_core.text import Alphabet

ALPHABET = Alphabet(("a", "b", " ", "_"), blank=3)
FRAME_S = 0.04


def emission_of(path: str, probability: float = 0.7) -> tuple[Emission, list[int]]:
    """An emission whose frames give `probability` to the token that `path` spells, and the path's ids."""
    ids = [ALPHABET.labels.index(symbol) for symbol in path]
    probabilities = torch.full((len(ids), len(ALPHABET)), (1 - probability) / (len(ALPHABET) - 1))
    probabilities[range(len(ids)), ids] = probability
    return Emission(probabilities.log(), FRAME_S, ALPHABET), ids


SOUND = loud_sound(2.0)


def spans_of(path: str, sound: Sound = SOUND, convention: str = "spike"):
    emission, ids = emission_of(path)
    tokens = token_spans(emission, ids, sound, convention)
    return tokens, word_spans(tokens)


paths = st.text(ALPHABET.labels, min_size=1, max_size=25)


@given(paths)
def test_token_spans_tile_the_path_but_for_its_blanks(path):
    tokens, _ = spans_of(path)
    rebuilt = ["_"] * len(path)
    for token in tokens:
        for frame in range(token.first, token.last + 1):
            assert rebuilt[frame] == "_"  # no two spans share a frame
            rebuilt[frame] = token.label
    assert "".join(rebuilt) == path
    assert [ALPHABET.labels.index(token.label) for token in tokens] == collapse(emission_of(path)[1], ALPHABET.blank)


@given(paths)
def test_each_span_is_the_whole_run_of_its_token(path):
    for token in spans_of(path)[0]:
        assert set(path[token.first : token.last + 1]) == {token.label}
        assert path[token.first - 1 : token.first] != token.label
        assert path[token.last + 1 : token.last + 2] != token.label


@given(paths)
def test_words_are_the_text_between_spaces_from_first_letter_to_last(path):
    tokens, words = spans_of(path)
    assert [word.label for word in words] == "".join(token.label for token in tokens).split()
    letters = [token for token in tokens if token.label != " "]
    for word in words:
        inside, letters = letters[: len(word.label)], letters[len(word.label) :]
        assert (word.first, word.last) == (inside[0].first, inside[-1].last)


@given(paths, st.sampled_from([0.01, 0.1, 0.33, 1.5]))
def test_times_are_frames_in_seconds_within_the_recording(path, duration_s):
    tokens, words = spans_of(path, loud_sound(duration_s))
    for span in (*tokens, *words):
        assert span.start_s == pytest.approx(min(span.first * FRAME_S, duration_s))
        assert span.end_s == pytest.approx(min((span.last + 1) * FRAME_S, duration_s))
        assert 0 <= span.start_s <= span.end_s <= duration_s


@given(paths, st.integers(0, 1000))
def test_a_token_scores_its_mean_probability_over_its_own_frames(path, seed):
    torch.manual_seed(seed)
    log_probs = torch.randn(len(path), len(ALPHABET)).log_softmax(-1)
    emission = Emission(log_probs, FRAME_S, ALPHABET)
    for token in token_spans(emission, emission_of(path)[1], SOUND):
        column = ALPHABET.labels.index(token.label)
        probabilities = [log_probs[frame, column].exp().item() for frame in range(token.first, token.last + 1)]
        assert token.score == pytest.approx(sum(probabilities) / len(probabilities), abs=1e-5)


def test_a_words_score_weighs_its_letters_by_their_frames_and_leaves_blanks_out():
    emission, ids = emission_of("aaa__b", probability=0.9)
    probabilities = emission.log_probs.exp()
    probabilities[5] = torch.tensor([0.3, 0.5, 0.1, 0.1])  # the b: one frame at 0.5
    emission = Emission(probabilities.log(), FRAME_S, ALPHABET)
    (word,) = word_spans(token_spans(emission, ids, SOUND))
    assert word.score == pytest.approx((3 * 0.9 + 1 * 0.5) / 4)


def test_a_double_letter_is_two_spans_with_a_blank_between():
    tokens, words = spans_of("_aa_a_b")
    assert [(token.label, token.first, token.last) for token in tokens] == [("a", 1, 2), ("a", 4, 4), ("b", 6, 6)]
    assert [word.label for word in words] == ["aab"]


@pytest.mark.parametrize("path", ["_", "____", "  _ "])
def test_nothing_said_is_no_word(path):
    assert spans_of(path)[1] == ()


def test_an_emission_of_another_alphabet_is_refused():
    for shape in [(5, 3), (5,), (1, 5, 4)]:
        with pytest.raises(ValueError, match="4 tokens.*has shape"):
            Emission(torch.zeros(shape), FRAME_S, ALPHABET)
