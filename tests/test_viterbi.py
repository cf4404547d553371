"""The best path against every path there is: with ties, zeros and rounding; and what is said where there is no path."""

import tracemalloc
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core import DEFAULT_CHECKPOINT, AlignmentError, Alphabet, Emission, Transcriber
from asr_core.alignment import forced_path
from asr_core.data.utterances import read_manifest
from asr_core.viterbi import Lattice, best_path

FRAME_S = 0.04
LETTERS = Alphabet(("<b>", "a", "b", " "), 0)
EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")


def collapsed(path: tuple[int, ...], blank: int = 0) -> tuple[int, ...]:
    return tuple(token for token, _ in groupby(path) if token != blank)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def cost(log_probs: np.ndarray, path: tuple[int, ...]) -> float:
    return -sum(float(log_probs[frame, token]) for frame, token in enumerate(path))


KINDS = {  # what people do to posteriors (T', V)
    "as they were": lambda log_probs, draw: log_probs,
    "whole numbers": lambda log_probs, draw: np.round(log_probs),
    "all alike": lambda log_probs, draw: np.full_like(log_probs, -np.log(log_probs.shape[1])),
    "one-hot": lambda log_probs, draw: np.where(log_probs == log_probs.max(1, keepdims=True), 0.0, -np.inf),
    "pruned to two": lambda log_probs, draw: np.where(log_probs >= np.sort(log_probs, 1)[:, -2:-1], log_probs, -np.inf),
    "half zeros": lambda log_probs, draw: np.where(
        (draw.random(log_probs.shape) < 0.5) | (log_probs == log_probs.max(1, keepdims=True)), log_probs, -np.inf
    ),
    "a token masked": lambda log_probs, draw: np.where(
        np.arange(log_probs.shape[1]) == draw.integers(log_probs.shape[1]), -np.inf, log_probs
    ),
    "float16": lambda log_probs, draw: np.log(np.exp(9 * log_probs).astype(np.float16).astype(np.float32)),
}
posteriors = st.tuples(st.sampled_from(list(KINDS)), st.integers(1, 6), st.integers(0, 10**6))


def made(kind: str, frames: int, seed: int, tokens: int = 4) -> np.ndarray:
    draw = np.random.default_rng(seed)
    log_probs = log_softmax(2 * draw.standard_normal((frames, tokens))).astype(np.float32)
    with np.errstate(divide="ignore"):  # a probability of zero is the point
        return KINDS[kind](log_probs, draw).astype(np.float32)


@settings(max_examples=300)
@given(posteriors, st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_the_path_is_the_best_of_all_that_spell_the_text(drawn, text):
    log_probs = made(*drawn)
    costs = [cost(log_probs, p) for p in product(range(4), repeat=len(log_probs)) if collapsed(p) == tuple(text)]
    path = best_path(log_probs, Lattice.of_text(text, blank=0))
    if min(costs, default=np.inf) == np.inf:
        assert path is None
    else:
        assert collapsed(path) == tuple(text)
        assert cost(log_probs, path) == pytest.approx(min(costs), abs=1e-9)
        assert path == best_path(log_probs, Lattice.of_text(text, blank=0)), "of several, always the same"


def test_of_two_best_ways_that_tie_neither_is_passed_over():
    logits = [[2, 2, 1, 1], [0, 0, 0, 0], [3, 2, 3, 2], [2, 3, 2, 2], [2, 2, 3, 1], [3, 2, 0, 1]]  # of pytorch/audio#4221
    log_probs = log_softmax(np.array(logits, np.float32))
    path = best_path(log_probs, Lattice.of_text([2, 1], blank=0))
    assert collapsed(path) == (2, 1)
    assert cost(log_probs, path) == pytest.approx(6.21, abs=0.005)


def least_cost(log_probs: list[list[float]], text: list[int], blank: int) -> float:
    """Another way to the same: the cheapest way to have said so many of the tokens by each frame, and whether the frame was
    a blank, one frame and one token at a time."""
    infinite = float("inf")
    spoken, silent = [infinite] * (len(text) + 1), [0.0] + [infinite] * len(text)
    for frame in log_probs:
        now_spoken, now_silent = [infinite] * (len(text) + 1), [infinite] * (len(text) + 1)
        for count in range(len(text) + 1):
            now_silent[count] = min(spoken[count], silent[count]) - frame[blank]
            if count:
                ways = [spoken[count], silent[count - 1]]
                if count == 1 or text[count - 1] != text[count - 2]:
                    ways.append(spoken[count - 1])
                now_spoken[count] = min(ways) - frame[text[count - 1]]
        spoken, silent = now_spoken, now_silent
    return min(spoken[-1], silent[-1])


@pytest.mark.parametrize("kind", ["as they were", "whole numbers", "float16"])
def test_on_real_speech_no_path_is_cheaper(kind):
    transcriber = Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)
    for example in EXAMPLES:
        emission = transcriber.transcribe(example.path, "greedy").emission
        with np.errstate(divide="ignore"):
            log_probs = KINDS[kind](emission.log_probs.numpy(), None).astype(np.float32)
        text, blank = emission.alphabet.encode(example.text), emission.alphabet.blank
        least = least_cost(log_probs.tolist(), text, blank)
        path = best_path(log_probs, Lattice.of_text(text, blank))
        if least == float("inf"):
            assert path is None
        else:
            assert collapsed(path, blank) == tuple(text)
            assert cost(log_probs, path) == pytest.approx(least, rel=1e-9)


def test_a_long_sum_is_not_rounded():
    # Twenty thousand frames in which the blank costs 3 nats; a float32 sum of them has steps of 0.004.
    log_probs = np.full((20_000, 2), -3.0, np.float32)
    log_probs[:, 1] = -9.0
    log_probs[12_345, 1] = -3.001
    log_probs[15_000, 1] = -3.0005
    assert best_path(log_probs, Lattice.of_text([1], blank=0)).index(1) == 15_000


def test_it_takes_a_byte_for_each_frame_and_state():
    log_probs = log_softmax(np.random.default_rng(0).standard_normal((1_000, 29))).astype(np.float32)
    lattice = Lattice.of_text([1, 2] * 400, blank=0)
    tracemalloc.start()
    best_path(log_probs, lattice)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.2 * len(log_probs) * len(lattice.tokens)


@settings(max_examples=300)
@given(posteriors, st.text("ab ", min_size=1, max_size=3))
def test_where_no_path_is_possible_the_first_token_without_a_place_is_named(drawn, text):
    log_probs = made(*drawn)
    tokens = LETTERS.encode(text)
    possible = [p for p in product(range(4), repeat=len(log_probs)) if cost(log_probs, p) < np.inf]
    needed = len(tokens) + sum(one == other for one, other in zip(tokens, tokens[1:], strict=False))
    if needed > len(log_probs) or any(collapsed(path) == tuple(tokens) for path in possible):
        return
    with pytest.raises(AlignmentError) as refusal:
        forced_path(Emission(torch.from_numpy(log_probs), FRAME_S, LETTERS), tokens)
    # As far as any path that has a probability begins as the text does, whatever it says behind that.
    begun = max(next(n for n in range(len(text), -1, -1) if collapsed(path)[:n] == tuple(tokens[:n])) for path in possible)
    index = min(begun, len(text) - 1)
    named = "The space" if text[index] == " " else f"“{text[index]}”"
    fault = "cannot be placed" if begun < len(text) else "cannot be the end of the text"
    assert str(refusal.value).startswith(named)
    assert f"(character {index + 1} of the text" in str(refusal.value)
    assert fault in str(refusal.value)


def certain(said: str, alphabet: Alphabet = LETTERS) -> Emission:
    """One-hot: a frame for each character, "_" the blank."""
    tokens = torch.tensor([alphabet.blank if label == "_" else alphabet.labels.index(label) for label in said])
    return Emission(torch.nn.functional.one_hot(tokens, len(alphabet)).float().log(), FRAME_S, alphabet)


ENGLISH = Alphabet()
FIX = " Correct the text there, or, if the posteriors were pruned, masked or rounded to zero, save them as they were."


@pytest.mark.parametrize(
    ("said", "text", "sentence"),
    [
        (
            "al_l is wel_l_", "all is wall",
            "“a” (character 9 of the text, in “wall”) cannot be placed: its probability is zero in every frame that could "
            "follow “all is w”.",
        ),
        (
            "_well______________", "all is well",
            "“a” (character 1 of the text, in “all”) cannot be placed: its probability is zero in every frame that the text "
            "could begin with.",
        ),
        (
            "helllo_", "hello",
            "“l” (character 4 of the text, in “hello”) cannot be placed: its probability is zero in every frame that could "
            "follow “hel” and a blank.",
        ),
        (
            "wel_l__is", "well is",
            "The space after “well” (character 5 of the text) cannot be placed: its probability is zero in every frame that "
            "could follow “well”.",
        ),
        (
            "wel_l is", "wel",
            "“l” (character 3 of the text, in “wel”) cannot be the end of the text: at 0.16 s at the latest the posteriors "
            "say another token.",
        ),
        (
            "the hal_l laid with a thin rug", "the hall laid with a thin rag",
            "“a” (character 28 of the text, in “rag”) cannot be placed: its probability is zero in every frame that could "
            "follow “…l laid with a thin r”.",
        ),
    ],
)  # fmt: skip
def test_the_sentence_names_letter_place_and_word_and_says_what_to_do(said, text, sentence):
    with pytest.raises(AlignmentError) as refusal:
        forced_path(certain(said, ENGLISH), ENGLISH.encode(text))
    assert str(refusal.value) == sentence + FIX


def test_pieces_of_words_and_phones_are_named_as_they_are_written():
    pieces = Alphabet((" he", "llo", " w", "orld", "_"), 4)
    one_hot = torch.nn.functional.one_hot(torch.tensor([0, 1, 4, 2, 1]), 5).float().log()
    with pytest.raises(AlignmentError, match=r"^“orld” \(character 8 of the text, in “world”\).*follow “hello w”\."):
        forced_path(Emission(one_hot, FRAME_S, pieces), pieces.encode("hello world"))
    with pytest.raises(AlignmentError, match=r"^“w” \(character 1 of the text, in “w”\).*could begin with\."):
        forced_path(Emission(one_hot, FRAME_S, pieces), pieces.encode("w he"))
    with pytest.raises(AlignmentError, match=r"^“he” \(character 7 of the text, in “he”\).*follow “hello”\."):
        forced_path(Emission(one_hot, FRAME_S, pieces), pieces.encode("hello he"))


@pytest.mark.parametrize("spoilt", [float("nan"), float("-inf")])
def test_a_frame_in_which_nothing_is_possible_is_named_in_place_of_a_letter(spoilt):
    emission = certain("a__b_")
    emission.log_probs[2] = spoilt
    with pytest.raises(AlignmentError, match=r"In 1 of 5 frames the posteriors .* first in frame 3 \(0.08 s\)"):
        forced_path(emission, LETTERS.encode("ab"))
