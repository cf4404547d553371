"""What people type, and the nearest thing that the model can hear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core.spelling import suggest
from asr_core.text import Alphabet, normalise

ALPHABET = Alphabet()


@pytest.mark.parametrize(
    ("typed", "spelling"),
    [
        # numbers
        ("I have 3 cats", "i have three cats"),
        ("42", "forty two"),
        ("0", "zero"),
        ("007", "seven"),
        ("1,000,000 people", "one million people"),
        ("10,000", "ten thousand"),
        ("3.14", "three point one four"),
        ("0.5", "zero point five"),
        ("5.", "five"),
        ("one, 2, three", "one two three"),
        ("10-20", "ten twenty"),
        ("٣", "three"),
        # years, which a comma makes numbers again
        ("in 1999", "in nineteen ninety nine"),
        ("1905", "nineteen oh five"),
        ("1066", "one thousand and sixty six"),
        ("1,999", "one thousand nine hundred and ninety nine"),
        ("2000", "two thousand"),
        ("2150", "two thousand one hundred and fifty"),
        # ordinals
        ("the 1st of May", "the first of may"),
        ("2nd 3rd 4th", "second third fourth"),
        ("21st", "twenty first"),
        ("100th", "one hundredth"),
        # money
        ("$5", "five dollars"),
        ("$1,000", "one thousand dollars"),
        ("$2.50 each", "two point five dollars each"),
        # accents and letters of other alphabets
        ("Crème brûlée", "creme brulee"),
        ("naïve", "naive"),
        ("Straße", "strasse"),
        ("Æsop, Øre, Łódź", "aesop ore lodz"),
        ("İstanbul", "istanbul"),
        ("ﬁne", "fine"),
        # symbols
        ("R&D", "r and d"),
        ("50%", "fifty percent"),
        ("me@home", "me at home"),
        ("1+1=2", "one plus one equals two"),
        # dashes part words, other punctuation goes
        ("mother-in-law", "mother in law"),
        ("wait — what – no―yes", "wait what no yes"),
        ("and/or", "and or"),
        ("Hello, world!", "hello world"),
        ("“Who’s there?”", "who's there"),
        # nothing left
        ("漢字", ""),
        ("?!", ""),
        ("😀", ""),
    ],
)
def test_the_spelling_that_somebody_would_say(typed, spelling):
    assert suggest(typed, ALPHABET) == spelling


@pytest.mark.parametrize(
    ("typed", "spelling"), [("$1999", "one thousand nine hundred and ninety nine dollars"), ("$1", "one dollar")]
)
def test_money_is_no_year_and_one_dollar_is_not_many(typed, spelling):
    assert suggest(typed, ALPHABET) == spelling


@pytest.mark.parametrize(
    ("typed", "spelling"), [("€5", "five euros"), ("£3.20", "three point two pounds"), ("5€", "five euros")]
)
def test_the_currency_is_said_after_the_number(typed, spelling):
    assert suggest(typed, ALPHABET) == spelling


@pytest.mark.parametrize(
    ("typed", "spelling"),
    [("5kg", "five kg"), ("3pm", "three pm"), ("mp3", "mp three"), ("covid19", "covid nineteen"), ("h2o", "h two o")],
)
def test_a_number_against_letters_is_not_lost(typed, spelling):
    assert suggest(typed, ALPHABET) == spelling


@pytest.mark.parametrize(
    ("typed", "spelling"),
    [
        ("yes,no", "yes no"),
        ("3:30", "three thirty"),
        ("wait…what", "wait what"),
        ("5th,6th", "fifth sixth"),
        ("one.Two", "one two"),
    ],
)
def test_punctuation_between_words_parts_them(typed, spelling):
    assert suggest(typed, ALPHABET) == spelling


def test_a_long_number_with_a_fraction_keeps_every_digit():
    assert suggest("12345678901234567.5", ALPHABET).endswith("five hundred and sixty seven point five")


@pytest.mark.parametrize(
    "typed", ["<b>bold</b>", "<script>alert(1)</script>", '<img src="x" onerror=alert`1`>', "&lt;i&gt;"]
)
def test_html_leaves_no_markup(typed):
    spelling = suggest(typed, ALPHABET)
    assert spelling and not ALPHABET.unknown(spelling)
    assert "<" not in spelling and "&" not in spelling


def test_html_keeps_its_words_apart():
    assert suggest("<b>bold</b> text", ALPHABET) == "b bold b text"


typed = st.text() | st.text("0123456789.,$€%stndrh-/ ") | st.from_regex(r"\A\$?[0-9,.]{1,40}(st|th)?\Z")


@given(typed)
def test_whatever_is_typed_the_spelling_is_in_the_alphabet_and_is_its_own_spelling(text):
    spelling = suggest(text, ALPHABET)
    assert ALPHABET.unknown(spelling) == ()
    assert spelling == normalise(spelling) == suggest(spelling, ALPHABET)


@given(st.text("' abcdefghijklmnopqrstuvwxyz"))
def test_what_the_alphabet_can_spell_is_left_alone(text):
    assert suggest(text, ALPHABET) == normalise(text)


def test_an_alphabet_with_accents_keeps_them():
    alphabet = Alphabet((" ", *"abcdefghijklmnopqrstuvwxyz", "é", "ß", "_"), blank=29)
    assert suggest("café, straße", alphabet) == "café straße"
