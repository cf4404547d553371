import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core.metrics import ErrorCounts, character_errors, word_errors, words_right

sentences = st.lists(st.sampled_from(["a", "the", "cat", "sat", "it's"]), min_size=1, max_size=8).map(" ".join)
readings = st.lists(st.sampled_from(["a", "the", "cat", "sad", "its"]), max_size=8).map(" ".join)
corpora = st.lists(st.tuples(sentences, readings), min_size=1, max_size=6)


@given(corpora)
def test_summed_word_errors_are_the_corpus_rate_of_jiwer(corpus):
    references, hypotheses = map(list, zip(*corpus, strict=True))
    counts = sum((word_errors(*pair) for pair in corpus), ErrorCounts())
    assert counts.rate == pytest.approx(jiwer.wer(references, hypotheses))
    assert counts.reference == sum(len(reference.split()) for reference in references)


@given(corpora)
def test_summed_character_errors_are_the_corpus_rate_of_jiwer(corpus):
    references, hypotheses = map(list, zip(*corpus, strict=True))
    counts = sum((character_errors(*pair) for pair in corpus), ErrorCounts())
    assert counts.rate == pytest.approx(jiwer.cer(references, hypotheses))
    assert counts.reference == sum(map(len, references))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("the cat sat", "the cat sat", ErrorCounts(0, 0, 0, 3)),
        ("the cat sat", "the bat sat", ErrorCounts(1, 0, 0, 3)),
        ("the cat sat", "the sat", ErrorCounts(0, 1, 0, 3)),
        ("the cat sat", "the cat has sat", ErrorCounts(0, 0, 1, 3)),
        ("the cat sat", "", ErrorCounts(0, 3, 0, 3)),
        ("hello", "he llo", ErrorCounts(1, 0, 1, 1)),
    ],
)
def test_words_counted_by_hand(reference, hypothesis, counts):
    assert word_errors(reference, hypothesis) == counts


@given(st.just("") | sentences, readings)
def test_the_words_that_are_right_are_those_that_no_error_accounts_for(reference, hypothesis):
    counts, right = word_errors(reference, hypothesis), words_right(reference, hypothesis)
    assert len(right) == len(hypothesis.split())
    assert sum(right) == counts.reference - counts.substitutions - counts.deletions
    assert len(right) - sum(right) == counts.substitutions + counts.insertions
    kept = iter(reference.split())  # what is right is in the reference, in order
    assert all(word in kept for word, hit in zip(hypothesis.split(), right, strict=True) if hit)


def test_right_words_by_hand():
    assert words_right("the cat sat", "the bat cat sad") == [True, False, True, False]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("hello", "helo", ErrorCounts(0, 1, 0, 5)),
        ("a b", "ab", ErrorCounts(0, 1, 0, 3)),  # a space is a character
        ("cat", "bat", ErrorCounts(1, 0, 0, 3)),
        ("kitten", "sitting", ErrorCounts(2, 0, 1, 6)),
        ("cat", "", ErrorCounts(0, 3, 0, 3)),
    ],
)
def test_characters_counted_by_hand(reference, hypothesis, counts):
    assert character_errors(reference, hypothesis) == counts


def test_the_corpus_rate_is_not_the_mean_of_rates():
    short, long = word_errors("yes", "no"), word_errors("one two three four", "one two three four")
    assert (short + long).rate == 1 / 5
    assert (short.rate + long.rate) / 2 == 1 / 2


def test_more_insertions_than_words_make_a_rate_above_one():
    assert word_errors("a", "a b c d").rate == 3.0


@pytest.mark.parametrize("measure", [word_errors, character_errors])
def test_an_empty_reference_counts_what_was_inserted(measure):
    assert measure("", "") == ErrorCounts()
    assert measure("", "ab").insertions == {word_errors: 1, character_errors: 2}[measure]
    assert measure("", "ab").reference == 0


def test_a_rate_without_a_reference_is_zero_or_infinite():
    assert ErrorCounts().rate == 0.0
    assert ErrorCounts(insertions=1).rate == math.inf


def test_an_empty_reference_still_adds_its_insertions_to_the_corpus():
    counts = word_errors("", "ghost words") + word_errors("one two", "one two")
    assert counts.rate == 2 / 2


@given(corpora)
def test_counts_add_up_in_any_order(corpus):
    parts = [word_errors(*pair) for pair in corpus]
    assert sum(parts, ErrorCounts()) == sum(reversed(parts), ErrorCounts())
    assert sum(parts, ErrorCounts()).errors == sum(part.errors for part in parts)
