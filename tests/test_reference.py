"""What a sentence costs: against torch's loss, against every path there is, and against sums worked by hand."""

import json
import math
from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asr_core.alignment import CONVENTIONS, AlignmentError
from asr_core.comparison import Difference, differences
from asr_core.ctc import expected_initial_loss
from asr_core.decoding import greedy_path
from asr_core.emission import Emission
from asr_core.metrics import ErrorCounts
from asr_core.reference import Reference, align, spell
from asr_core.sound import Sound
from asr_core.text import Alphabet, TextError
from asr_core.transcription import Transcription

FRAME_S = 0.04
ALPHABET = Alphabet()


def found(reference: Reference) -> tuple[Difference, ...]:
    """From the text to what was heard, as the error counts go."""
    return differences(reference.aligned, reference.heard)


def heard_from(log_probs: torch.Tensor, alphabet: Alphabet = ALPHABET) -> Transcription:
    frames = len(log_probs)
    sound = Sound(np.zeros(640 * frames, np.float32), 16_000, np.ones((4 * frames + 1, 80), np.float32), 0.01)
    emission = Emission(log_probs, FRAME_S, alphabet)
    return Transcription.of_path(greedy_path(emission), emission, sound)


def random_log_probs(frames: int, tokens: int, seed: int) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(3 * draw.standard_normal((frames, tokens))).float().log_softmax(-1)


def with_many_spaces(log_probs: torch.Tensor) -> torch.Tensor:
    """Between words, at the edges, and one after another."""
    favour = torch.zeros(29)
    favour[[1, ALPHABET.blank]] = 6.0
    return (log_probs + favour).log_softmax(-1)


def hearing(frames: str, probability: float = 0.9) -> Transcription:
    """What a model that is that sure of each of these frames would hear. An underscore is a blank."""
    ids = [ALPHABET.blank if frame == "_" else ALPHABET.encode(frame)[0] for frame in frames]
    probabilities = torch.full((len(ids), 29), (1 - probability) / 28)
    probabilities[range(len(ids)), ids] = probability
    return heard_from(probabilities.log())


def fits(text: str, frames: int) -> bool:
    return len(text) + sum(one == other for one, other in zip(text, text[1:], strict=False)) <= frames


sentences = st.lists(st.text("abnott'", min_size=1, max_size=5), min_size=1, max_size=4).map(" ".join)


@given(sentences, st.integers(1, 60), st.integers(0, 10_000))
def test_the_loss_is_torchs_and_the_cost_is_that_of_the_one_path(text, frames, seed):
    assume(fits(text, frames))
    log_probs = random_log_probs(frames, 29, seed)
    reference = align(heard_from(log_probs), text)
    loss = torch.nn.CTCLoss(blank=28, reduction="sum")(
        log_probs[:, None], torch.tensor([ALPHABET.encode(text)]), torch.tensor([frames]), torch.tensor([len(text)])
    )
    assert reference.loss == pytest.approx(loss.item(), rel=1e-5)
    path = reference.aligned.path
    assert reference.path_cost == pytest.approx(-sum(log_probs[t, token].item() for t, token in enumerate(path)), rel=1e-4)
    assert reference.path_cost == pytest.approx(sum(reference.costs) + reference.blank_cost)
    assert reference.loss <= reference.path_cost * (1 + 1e-5)
    for token, cost in zip(reference.aligned.tokens, reference.costs, strict=True):
        column = ALPHABET.encode(token.label)[0]
        assert cost == pytest.approx(-log_probs[token.first : token.last + 1, column].sum().item(), rel=1e-4, abs=1e-6)


@settings(max_examples=40)
@given(st.text("ab", min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 10_000), st.integers(0, 2))
def test_the_loss_is_the_sum_over_every_path_that_spells_the_text(text, frames, seed, blank):
    assume(fits(text, frames))
    alphabet = Alphabet(tuple("ab_"[(index - blank - 1) % 3] for index in range(3)), blank)
    log_probs = random_log_probs(frames, 3, seed)
    reference = align(heard_from(log_probs, alphabet), text)
    costs = [
        -sum(log_probs[frame, token].item() for frame, token in enumerate(path))
        for path in product(range(3), repeat=frames)
        if [token for token, _ in groupby(path) if token != blank] == alphabet.encode(text)
    ]
    assert reference.loss == pytest.approx(-math.log(math.fsum(math.exp(-cost) for cost in costs)), rel=1e-4, abs=1e-5)
    assert reference.path_cost == pytest.approx(min(costs), rel=1e-5)
    if len(costs) == 1:
        assert reference.loss == pytest.approx(reference.path_cost, rel=1e-5)


@pytest.mark.parametrize(("text", "frames"), [("a", 1), ("hello", 6), ("hello", 20), ("see the sea", 40)])
def test_a_model_that_knows_nothing_pays_the_same_for_every_frame(text, frames):
    reference = align(heard_from(torch.zeros(frames, 29).log_softmax(-1)), text)
    assert reference.path_cost == pytest.approx(frames * math.log(29), rel=1e-5)
    repeats = sum(one == other for one, other in zip(text, text[1:], strict=False))
    assert reference.loss == pytest.approx(expected_initial_loss(frames, len(text), repeats, 29), rel=1e-4)


def test_what_was_heard_for_sure_costs_next_to_nothing_and_what_was_not_costs_much():
    reference = align(hearing("__cc_a__t__", probability=0.999), "cut")
    c, u, t = reference.costs
    assert c == pytest.approx(-2 * math.log(0.999), rel=1e-3)
    assert t == pytest.approx(-math.log(0.999), rel=1e-3)
    assert u == pytest.approx(-math.log(0.001 / 28), rel=1e-3)
    assert reference.blank_cost == pytest.approx(-7 * math.log(0.999), rel=1e-3)


@given(sentences, st.integers(0, 10_000), st.sampled_from(sorted(CONVENTIONS)))
def test_the_aligned_reading_says_the_text_on_the_same_audio(text, seed, convention):
    heard = heard_from(random_log_probs(50, 29, seed)).with_convention(convention)
    reference = align(heard, f" {text.upper()}\n")
    aligned = reference.aligned
    assert aligned.text == text
    assert [token.label for token in aligned.tokens] == list(text)
    assert len(aligned.path) == 50
    assert reference.heard is heard
    assert (aligned.emission, aligned.sound, aligned.convention) == (heard.emission, heard.sound, convention)


@pytest.mark.parametrize(
    ("frames", "text", "words", "characters"),
    [
        ("the_ cat", "the cat", ErrorCounts(0, 0, 0, 2), ErrorCounts(0, 0, 0, 7)),
        ("the_ bat", "the cat", ErrorCounts(1, 0, 0, 2), ErrorCounts(1, 0, 0, 7)),
        ("the_____", "the cat", ErrorCounts(0, 1, 0, 2), ErrorCounts(0, 4, 0, 7)),
        ("a cat___", "cat", ErrorCounts(0, 0, 1, 1), ErrorCounts(0, 0, 2, 3)),
        ("________", "cat", ErrorCounts(0, 1, 0, 1), ErrorCounts(0, 3, 0, 3)),
        ("_cat____", "Cat ", ErrorCounts(0, 0, 0, 1), ErrorCounts(0, 0, 0, 3)),
    ],
)
def test_errors_are_counted_from_the_text_to_what_was_heard(frames, text, words, characters):
    reference = align(hearing(frames), text)
    assert (reference.words, reference.characters) == (words, characters)
    summary = json.loads(json.dumps(reference.summary(), allow_nan=False))
    assert (summary["wer"], summary["cer"]) == (words.rate, characters.rate)
    assert summary["words"] == vars(words)
    assert (summary["loss"], summary["path_cost"]) == (
        pytest.approx(reference.loss, abs=1e-4),
        pytest.approx(reference.path_cost, abs=1e-4),
    )


def test_differences_go_from_the_text_to_what_was_heard():
    (difference,) = found(align(hearing("_c_a__t_"), "cut"))
    assert (difference.kind, difference.first, difference.second) == ("substitute", (1, 2), (1, 2))
    (difference,) = found(align(hearing("_c_a____"), "cat"))
    assert (difference.kind, difference.first, difference.second) == ("delete", (2, 3), (2, 2))
    assert found(align(hearing("_c_a__t_"), "cat")) == ()


@given(sentences, st.integers(0, 10_000))
def test_there_are_differences_exactly_where_there_are_errors(text, seed):
    heard = heard_from(with_many_spaces(random_log_probs(40, 29, seed)))
    assume(heard.text)
    reference = align(heard, text)
    assert bool(found(reference)) == (reference.characters.errors > 0)
    again = align(reference.heard, reference.heard.text)
    assert (found(again), again.characters.errors, again.words.errors) == ((), 0, 0)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused(text):
    with pytest.raises(AlignmentError, match="nothing to align: the text is empty"):
        align(hearing("_cat_"), text)


def test_a_text_too_long_is_refused_with_both_numbers():
    with pytest.raises(AlignmentError, match=r"its 7 letters and spaces need at least 8 frames \(0.3 s\), and there are 7 "):
        align(hearing("hello__"), "hello a")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("I have 3 cats", "The model's alphabet lacks “3”. Nearest spelling: i have three cats"),
        ("Hello, world!", "The model's alphabet lacks “,”, “!”. Nearest spelling: hello world"),
        ("R&D: 50%", "The model's alphabet lacks “&”, “:”, “5”, “0”, “%”. Nearest spelling: r and d fifty percent"),
        ("漢字", "The model's alphabet lacks “漢”, “字”."),
        ("<i>", "The model's alphabet lacks “<”, “>”. Nearest spelling: i"),
    ],
)
def test_what_the_alphabet_lacks_is_named_and_a_spelling_offered(text, sentence):
    with pytest.raises(TextError) as refusal:
        spell(text, ALPHABET)
    assert str(refusal.value) == sentence
    with pytest.raises(TextError):  # before anything is aligned
        align(hearing("_"), text)


@given(st.text())
def test_the_spelling_that_is_offered_can_be_spelled(text):
    try:
        tokens = spell(text, ALPHABET)
    except TextError as refusal:
        _, _, offered = str(refusal).partition("Nearest spelling: ")
        assert refusal.suggestion == offered
        assert ALPHABET.decode(spell(offered, ALPHABET)) == offered
    else:
        assert ALPHABET.decode(tokens) == " ".join(text.lower().translate(dict.fromkeys(map(ord, "‘’ʼ`´"), "'")).split())
