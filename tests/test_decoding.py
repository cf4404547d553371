import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from asr_core.decoding import collapse, greedy_decode
from asr_core.text import Alphabet, TextError

ALPHABET = Alphabet()


def slow_collapse(path: list[int], blank: int) -> list[int]:
    kept, previous = [], None
    for token in path:
        if token != previous and token != blank:
            kept.append(token)
        previous = token
    return kept


def path_of(symbols: str) -> list[int]:
    """ "_" is the blank."""
    return [ALPHABET.blank if symbol == "_" else ALPHABET.labels.index(symbol) for symbol in symbols]


def emission_of(*paths: str) -> torch.Tensor:
    """(B, T', V) log-probabilities whose argmax is each path, padded with the letter z, which no test speaks."""
    frames = max(map(len, paths))
    tokens = torch.tensor([path_of(path.ljust(frames, "z")) for path in paths])
    return (5.0 * F.one_hot(tokens, len(ALPHABET)).float()).log_softmax(-1)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 3))
def test_collapse_agrees_with_a_loop_over_frames(path, blank):
    assert collapse(path, blank) == slow_collapse(path, blank)


@given(st.lists(st.integers(0, 3), max_size=20), st.data())
def test_saying_every_frame_longer_changes_nothing(path, data):
    repeats = data.draw(st.lists(st.integers(1, 4), min_size=len(path), max_size=len(path)))
    longer = [token for token, count in zip(path, repeats, strict=True) for _ in range(count)]
    assert collapse(longer, 3) == collapse(path, 3)


def test_a_blank_between_two_equal_letters_keeps_both():
    assert collapse([1, 1, 0, 1], blank=0) == [1, 1]
    assert collapse([1, 1, 1, 1], blank=0) == [1]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hhe_ll_lloo", "hello"),
        ("_h_e_l_l_o_", "hello"),
        ("helo", "helo"),
        ("____", ""),
        ("a  b", "a b"),
        ("a _ b", "a b"),
        ("  a  ", "a"),
        ("it's", "it's"),
    ],
)
def test_greedy_decoding_reads_a_path(path, text):
    log_probs = emission_of(path)
    assert greedy_decode(log_probs, torch.tensor([len(path)]), ALPHABET) == [text]


def test_greedy_decoding_reads_no_further_than_the_length():
    log_probs = emission_of("cat", "do", "f")
    assert greedy_decode(log_probs, torch.tensor([3, 2, 1]), ALPHABET) == ["cat", "do", "f"]
    assert greedy_decode(log_probs, torch.tensor([2, 1, 1]), ALPHABET) == ["ca", "d", "f"]


def test_greedy_decoding_takes_logits_as_well():
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, 30, len(ALPHABET))
    lengths = torch.tensor([30, 20, 10, 1])
    texts = greedy_decode(logits, lengths, ALPHABET)
    assert texts == greedy_decode(logits.log_softmax(-1), lengths, ALPHABET)
    assert len(texts[0]) > len(texts[2]) > 0


def test_an_uncollapsed_path_is_not_text():
    with pytest.raises(TextError):
        ALPHABET.decode(path_of("h_i"))
