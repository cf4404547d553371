import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core.spelling import suggest
from asr_core.text import APOSTROPHES, Alphabet, TextError, normalise, written

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


# Alphabets of other kinds: capitals, pieces of words, phones, letters that no space parts.

CAPITALS = Alphabet(written(("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 0), 0)
PHONES = Alphabet(written(("HH", "AH", "L", "OW", "N", "[PAD]", "[UNK]"), 5), 5)
CHARACTERS = Alphabet(written(("[PAD]", "漢", "字", "あ"), 0), 0)


@st.composite
def pieces(draw):
    """SentencePiece's kind of alphabet over three letters: random pieces, and every letter for itself, so that it can spell
    whatever there is."""
    parts = draw(st.sets(st.text("abc", min_size=2, max_size=4), max_size=8))
    starts = draw(st.sets(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=8))
    labels = ["a", "b", "c", "▁", *sorted(parts), *(f"▁{part}" for part in sorted(starts))]
    labels = draw(st.permutations(labels))
    blank = draw(st.integers(0, len(labels)))
    labels.insert(blank, "<blank>")
    return Alphabet(written(labels, blank), blank)


def all_spellings(alphabet: Alphabet, text: str) -> list[list[int]]:
    """Every row of tokens that writes the text, by trying each token at each place."""
    if not text:
        return [[]]
    return [
        [token, *rest]
        for token, label in enumerate(alphabet.labels)
        if token != alphabet.blank and text.startswith(label)
        for rest in all_spellings(alphabet, text[len(label) :])
    ]


sentences = st.lists(st.text("abc", min_size=1, max_size=5), max_size=3).map(" ".join)


@given(pieces(), sentences)
def test_pieces_spell_a_sentence_with_the_fewest_tokens_the_longest_first(alphabet, text):
    tokens = alphabet.encode(text)
    assert " ".join(alphabet.decode(tokens).split()) == text
    ways = all_spellings(alphabet, f" {text}" if text else "")
    fewest = min(map(len, ways))
    longest_first = max(
        (tuple(len(alphabet.labels[token]) for token in way) for way in ways if len(way) == fewest), default=()
    )
    assert tuple(len(alphabet.labels[token]) for token in tokens) == longest_first


@given(pieces(), sentences)
def test_what_was_decoded_has_a_spelling_and_the_same_words(alphabet, text):
    decoded = alphabet.decode(alphabet.encode(text))
    assert alphabet.unknown(decoded) == ()
    assert alphabet.encode(decoded) == alphabet.encode(text)


@given(st.text("hello wurld'’ABC \t", max_size=20))
def test_capitals_accept_what_is_typed_in_any_case(text):
    spelled = CAPITALS.normalise(text)
    assert CAPITALS.unknown(spelled) == ()
    assert CAPITALS.normalise(CAPITALS.decode(CAPITALS.encode(spelled))) == spelled == CAPITALS.normalise(text.lower())


def test_tokens_that_spell_nothing_are_read_but_never_typed():
    assert CAPITALS.decode([3, 4, 6]) == "<unk> A"
    assert CAPITALS.unknown("<UNK>") == ("<", ">")
    assert (CAPITALS.space, CAPITALS.opens_words) == (4, False)


def test_phones_are_words_of_their_own():
    assert PHONES.encode("HH AH L OW") == [0, 1, 2, 3]
    assert PHONES.decode([0, 1, 2, 3]).split() == ["HH", "AH", "L", "OW"]
    assert PHONES.unknown("HH EH") == ("E",)  # a sound that no phone has
    assert PHONES.unknown("HH LAH") == ("LAH",)  # letters that are there, but not in this order
    with pytest.raises(TextError, match="'LAH'"):
        PHONES.encode("HH LAH")
    assert (PHONES.space, PHONES.opens_words) == (None, True)


def test_where_nothing_parts_words_neither_does_a_typed_space():
    assert CHARACTERS.encode(CHARACTERS.normalise("漢 字")) == [1, 2]
    assert CHARACTERS.unknown("漢 字") == (" ",)
    assert CHARACTERS.space is None


@pytest.mark.parametrize(
    ("labels", "labelled"),
    [
        (("_", "a", "|"), ("_", "a", " ")),
        (("_", "a", "<space>"), ("_", "a", " ")),
        (("_", "a", " ", "|"), ("_", "a", " ", "|")),  # a bar beside a space is a bar
        (("_", "▁a", "|"), ("_", " a", "|")),
        (("|", "a", "b"), ("|", "a", "b")),  # the blank's own name says nothing
        (("_", "ab", "c"), ("_", " ab", " c")),
        (("_", "<unk>", "c"), ("_", "<unk>", "c")),
    ],
)
def test_labels_of_other_toolkits_become_what_each_token_writes(labels, labelled):
    assert written(labels, 0) == labelled
    assert written(written(labels, 0), 0) == labelled


@pytest.mark.parametrize(
    ("typed", "spelling"),
    [("I have 3 cats", "I HAVE THREE CATS"), ("Crème, “brûlée”!", "CREME BRULEE"), ("£5", "FIVE POUNDS")],
)
def test_a_spelling_is_offered_in_the_alphabets_case(typed, spelling):
    assert suggest(typed, CAPITALS) == spelling


@given(pieces(), st.text("abcABC é3&", max_size=12))
def test_what_is_offered_can_be_spelt_by_pieces_too(alphabet, text):
    spelling = suggest(text, alphabet)
    assert alphabet.unknown(spelling) == ()
    assert " ".join(alphabet.decode(alphabet.encode(spelling)).split()) == spelling
