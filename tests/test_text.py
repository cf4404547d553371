import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core.text import APOSTROPHES, Alphabet, TextError, normalise

ALPHABET = Alphabet()
spellable = st.text("' abcdefghijklmnopqrstuvwxyz")
token_ids = st.lists(st.integers(0, 27))


def test_the_default_alphabet_is_that_of_the_starting_model():
    assert ALPHABET.labels == tuple("' abcdefghijklmnopqrstuvwxyz") + ("<blank>",)
    assert len(ALPHABET) == 29
    assert ALPHABET.blank == 28


@given(spellable)
def test_decoding_undoes_encoding(text):
    assert ALPHABET.decode(ALPHABET.encode(text)) == text


@given(token_ids)
def test_encoding_undoes_decoding(ids):
    assert ALPHABET.encode(ALPHABET.decode(ids)) == ids


@given(st.text(), st.sets(st.sampled_from("0189?!éßñЖ漢\n"), min_size=1))
def test_every_unknown_character_is_named_once_in_order(text, strange):
    text += "".join(sorted(strange))
    expected = []
    for character in text:
        if character not in "' abcdefghijklmnopqrstuvwxyz" and character not in expected:
            expected.append(character)
    assert ALPHABET.unknown(text) == tuple(expected)
    with pytest.raises(TextError) as refusal:
        ALPHABET.encode(text)
    assert all(repr(character) in str(refusal.value) for character in expected)


def test_upper_case_is_unknown_until_it_is_normalised():
    assert ALPHABET.unknown("Hi") == ("H",)
    assert ALPHABET.unknown(normalise("Hi")) == ()


@given(token_ids, token_ids)
def test_the_blank_has_no_text(before, after):
    with pytest.raises(TextError, match="28 is the blank.*collapse"):
        ALPHABET.decode([*before, ALPHABET.blank, *after])


@pytest.mark.parametrize("token", [-1, 29, 1000])
def test_a_token_outside_the_alphabet_has_no_text(token):
    # -1 is what many programs pad with; Python's indexing would spell it "<blank>".
    with pytest.raises(TextError, match=str(token)):
        ALPHABET.decode([2, token])


def test_the_blank_may_stand_anywhere_in_an_alphabet():
    alphabet = Alphabet(("<blank>", "b", "a"), blank=0)
    assert alphabet.encode("ab") == [2, 1]
    with pytest.raises(TextError):
        alphabet.decode([0])


def test_the_name_of_the_blank_cannot_be_spelt():
    assert Alphabet(("_", "a"), blank=0).unknown("a_a") == ("_",)


@pytest.mark.parametrize(("labels", "blank"), [(("a", "b"), 2), (("a", "b"), -1), (("a", "a", "b"), 2)])
def test_an_alphabet_that_contradicts_itself_is_refused(labels, blank):
    with pytest.raises(ValueError, match="blank is token|repeats a label"):
        Alphabet(labels, blank)


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("HELLO World", "hello world"),
        ("  two\t spaces \n", "two spaces"),
        ("it\u2019s", "it's"),
        ("", ""),
        (" \n ", ""),
        ("in 1984, all!", "in 1984, all!"),  # nothing is dropped: what cannot be spelt must be seen
    ],
)
def test_normalise_lowers_case_and_squeezes_spaces_and_drops_nothing(written, normalised):
    assert normalise(written) == normalised


def test_every_kind_of_apostrophe_becomes_the_one_in_the_alphabet():
    assert normalise(APOSTROPHES) == "'" * len(APOSTROPHES)
    assert len(APOSTROPHES) == 5


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)
