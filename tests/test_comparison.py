"""The differences of two readings: by hand, against jiwer's counts, and as edits that really turn one into the other."""

import re
from itertools import pairwise

import jiwer
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_core.comparison import Difference, differences
from asr_core.emission import Emission
from asr_core.metrics import character_errors
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription

FRAME_S = 0.04
SECONDS = 4.0
FRAMES = 100
ALPHABET = Alphabet()
SOUND = Sound(np.zeros(round(SECONDS * 16_000), np.float32), 16_000, np.zeros((401, 80), np.float32), 0.01)


def along(path: list[int], alphabet: Alphabet = ALPHABET) -> Transcription:
    path = [*path, *[alphabet.blank] * (FRAMES - len(path))]
    log_probs = torch.zeros(FRAMES, len(alphabet)).log_softmax(-1)
    return Transcription.of_path(tuple(path), Emission(log_probs, FRAME_S, alphabet), SOUND)


def reading(frames: str) -> Transcription:
    """A character a frame; an underscore is a blank."""
    return along([ALPHABET.blank if frame == "_" else ALPHABET.encode(frame)[0] for frame in frames])


def letters(transcription: Transcription) -> list[str]:
    return [token.label for token in transcription.tokens]


def edited(first: Transcription, second: Transcription) -> list[str]:
    """The first reading's letters after the edits that `differences` lists."""
    one, other = letters(first), letters(second)
    for difference in reversed(differences(first, second)):
        one[slice(*difference.first)] = other[slice(*difference.second)]
    return one


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("c_a_t", "c_a_t", []),
        ("c_a_t", "b_a_t", [Difference("substitute", (0, 1), (0, 1), 0.0, 0.04)]),
        ("c_a_t", "c_a__", [Difference("delete", (2, 3), (2, 2), 0.16, 0.2)]),
        ("c_a__", "c_a_t", [Difference("insert", (2, 2), (2, 3), 0.16, 0.2)]),
        ("c__t", "caat", [Difference("insert", (1, 1), (1, 2), 0.04, 0.12)]),
        ("cat", "caot", [Difference("insert", (2, 2), (2, 3), 0.08, 0.12)]),
        ("a b", "a_b", [Difference("delete", (1, 2), (1, 1), 0.04, 0.08)]),  # a space is a letter like any other
        ("ccat", "__bat", [Difference("substitute", (0, 1), (0, 1), 0.0, 0.12)]),  # seconds of both
        (
            "kit_ten",
            "sit_ting",
            [
                Difference("substitute", (0, 1), (0, 1), 0.0, 0.04),
                Difference("substitute", (4, 5), (4, 5), 0.2, 0.24),
                Difference("insert", (6, 6), (6, 7), 0.28, 0.32),
            ],
        ),
        ("abcd", "a__d", [Difference("delete", (1, 3), (1, 1), 0.04, 0.12)]),  # neighbours are one stretch
        ("ab", "xy", [Difference("substitute", (0, 2), (0, 2), 0.0, 0.08)]),
    ],
)
def test_differences_by_hand(first, second, expected):
    found = differences(reading(first), reading(second))
    assert [(d.kind, d.first, d.second) for d in found] == [(d.kind, d.first, d.second) for d in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s))


def test_against_a_reading_without_letters_all_is_one_difference():
    nothing, cat = reading("___"), reading("_c_a_tt")
    assert differences(nothing, nothing) == ()
    (lost,) = differences(cat, nothing)
    assert (lost.kind, lost.first, lost.second) == ("delete", (0, 3), (0, 0))
    assert (lost.start_s, lost.end_s) == pytest.approx((0.04, 0.28))
    (gained,) = differences(nothing, cat)
    assert (gained.kind, gained.first, gained.second) == ("insert", (0, 0), (0, 3))


# A space at an edge, or two in a row with a blank between, is heard often and is no part of the text.
def test_a_space_before_the_first_word_moves_no_difference_to_another_letter():
    (difference,) = differences(reading(" cat"), reading("_cut"))
    assert (difference.kind, difference.first, difference.second) == ("substitute", (2, 3), (1, 2))
    assert (difference.start_s, difference.end_s) == pytest.approx((0.08, 0.12))
    (difference,) = differences(reading("cat"), reading(" cut"))
    assert (difference.first, difference.second) == ((1, 2), (2, 3))


@pytest.mark.parametrize("spaced", [" _cat", "cat__ ", " cat ", " _ cat _ "])
def test_readings_of_the_same_text_do_not_differ(spaced):
    assert reading(spaced).text == reading("cat").text
    assert differences(reading(spaced), reading("cat")) == differences(reading("cat"), reading(spaced)) == ()


def test_spaces_between_words_count_once():
    assert differences(reading("a _ b"), reading("a b")) == ()


@pytest.mark.parametrize("spaces", [" ", " _ ", "  _ _"])
def test_a_reading_of_spaces_only_has_no_letters(spaces):
    (difference,) = differences(reading(spaces), reading("at"))
    assert (difference.kind, difference.second) == ("insert", (0, 2))
    assert differences(reading(spaces), reading("_")) == ()


def words_of(alphabet: str):
    return st.lists(st.text(alphabet, min_size=1, max_size=4), max_size=4).map(" ".join)


def frames_of(text: str) -> str:
    """With a blank after each letter, so that doubles stay two."""
    return "".join(letter + "_" for letter in text)


@given(words_of("abc"), words_of("abc"))
def test_the_edits_are_as_many_as_jiwer_counts_and_make_one_text_of_the_other(first, second):
    one, other = reading(frames_of(first)), reading(frames_of(second))
    found = differences(one, other)
    sizes = {kind: 0 for kind in ("substitute", "delete", "insert")}
    for difference in found:
        removed, added = (stop - start for start, stop in (difference.first, difference.second))
        assert (removed > 0, added > 0) == (difference.kind != "insert", difference.kind != "delete")
        assert difference.kind != "substitute" or removed == added
        sizes[difference.kind] += max(removed, added)
    if first and second:
        measured = jiwer.process_characters(first, second)
        assert sizes == {
            "substitute": measured.substitutions, "delete": measured.deletions, "insert": measured.insertions,
        }  # fmt: skip
    assert sum(sizes.values()) == character_errors(first, second).errors
    assert edited(one, other) == letters(other)


paths = st.lists(st.sampled_from([ALPHABET.blank, ALPHABET.blank, 1, 2, 3]), max_size=30)


@given(paths, paths)
def test_the_edits_of_any_two_readings_are_their_character_errors(first, second):
    one, other = along(first), along(second)
    found = differences(one, other)

    def size(tokens) -> int:
        return len(re.sub(" +", " ", "".join(token.label for token in tokens)))

    sizes = [max(size(one.tokens[slice(*d.first)]), size(other.tokens[slice(*d.second)])) for d in found]
    assert sum(sizes) == character_errors(one.text, other.text).errors
    assert "".join(edited(one, other)).split() == other.text.split()


@given(paths, paths)
def test_differences_lie_in_the_order_of_both_readings_and_span_their_letters(first, second):
    one, other = along(first), along(second)
    found = differences(one, other)
    for before, after in pairwise(found):
        assert before.first[1] <= after.first[0]
        assert before.second[1] <= after.second[0]
    for difference in found:
        spans = [*one.tokens[slice(*difference.first)], *other.tokens[slice(*difference.second)]]
        assert difference.start_s == min(span.start_s for span in spans)
        assert difference.end_s == max(span.end_s for span in spans)


@given(paths, st.lists(st.tuples(st.integers(0, 29), st.sampled_from([2, 3, 28])), max_size=4))
def test_differences_of_readings_of_the_same_frames_are_in_order_of_time(path, changes):
    changed = list(path)
    for frame, token in changes:
        if frame < len(path):
            changed[frame] = token
    starts = [difference.start_s for difference in differences(along(path), along(changed))]
    assert starts == sorted(starts)


def test_a_token_of_several_characters_is_one_token():
    alphabet = Alphabet(("ch", "a", "c", "t", "_"), blank=4)
    (difference,) = differences(along([0, 1, 3], alphabet), along([2, 1, 3], alphabet))  # "chat", "cat"
    assert (difference.kind, difference.first, difference.second) == ("delete", (0, 1), (1, 1))  # of the h


def test_capitals_and_pieces_are_compared_with_letters_by_what_they_spell():
    capitals = Alphabet(("_", " ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 0)
    pieces = Alphabet((" the", " ca", "t", " c", "ut", "_"), 5)
    lower = reading("the cat")
    upper = along([capitals.labels.index(letter) for letter in "THE CAT"], capitals)
    cut = along([0, 5, 3, 4], pieces)
    assert differences(lower, upper) == ()
    assert differences(lower, along([0, 1, 2], pieces)) == ()
    (difference,) = differences(lower, cut)
    assert (difference.kind, difference.first, difference.second) == ("substitute", (5, 6), (2, 3))
