import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from asr_core.ctc import CtcError, check, ctc_loss, expected_initial_loss, frames_needed


def slow_collapse(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    merged = [token for position, token in enumerate(path) if position == 0 or token != path[position - 1]]
    return tuple(token for token in merged if token != blank)


def probabilities_of_targets(log_probs: Tensor, blank: int) -> dict[tuple[int, ...], float]:
    """log_probs (T', V) -> what every target collects over all V^T' paths."""
    frames, vocabulary = log_probs.shape
    total: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(vocabulary), repeat=frames):
        probability = math.exp(sum(log_probs[frame, token].item() for frame, token in enumerate(path)))
        target = slow_collapse(path, blank)
        total[target] = total.get(target, 0.0) + probability
    return total


@pytest.mark.parametrize(("frames", "vocabulary", "blank"), [(1, 3, 0), (3, 3, 2), (4, 3, 1), (5, 3, 0), (4, 4, 3)])
def test_the_loss_is_the_sum_over_every_path_that_collapses_to_the_target(frames, vocabulary, blank):
    torch.manual_seed(frames)
    log_probs = (2 * torch.randn(frames, vocabulary, dtype=torch.float64)).log_softmax(-1)
    by_target = probabilities_of_targets(log_probs, blank)
    for target, probability in by_target.items():
        if target:
            one = torch.tensor([frames]), torch.tensor([len(target)])
            loss = ctc_loss(log_probs[None], torch.tensor([target]), *one, blank)
            assert loss.item() == pytest.approx(-math.log(probability), abs=1e-6)
    assert sum(by_target.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("frames", "target", "vocabulary"),
    [
        (600, [1 + token % 27 for token in range(180)], 29),
        (600, [1 + token % 27 for token in range(175)] + [5] * 6, 29),
        (50, [1, 1, 2, 2, 3], 29),
        (9, [1, 1, 1, 1, 1], 2),  # fits exactly
        (4, [1, 2, 3, 4], 5),
        (1, [1], 1000),
    ],
)
def test_the_loss_to_expect_at_the_first_step_is_that_of_uniform_logits(frames, target, vocabulary):
    log_probs = torch.zeros(1, frames, vocabulary, dtype=torch.float64).log_softmax(-1)
    loss = ctc_loss(log_probs, torch.tensor([target]), torch.tensor([frames]), torch.tensor([len(target)]), blank=0)
    repeats = sum(left == right for left, right in itertools.pairwise(target))
    assert expected_initial_loss(frames, len(target), repeats, vocabulary) == pytest.approx(loss.item(), rel=1e-5)


def test_the_loss_to_expect_is_infinite_when_the_target_cannot_fit():
    assert expected_initial_loss(frames=5, tokens=4, repeats=2, vocabulary=29) == math.inf
    assert expected_initial_loss(frames=6, tokens=4, repeats=2, vocabulary=29) < math.inf


def test_the_starting_scripts_negative_loss_comes_from_softmax_and_is_refused():
    torch.manual_seed(0)
    logits = 0.01 * torch.randn(1, 600, 29)  # an untrained model is nearly uniform
    targets = torch.arange(180)[None] % 28
    lengths = torch.tensor([600]), torch.tensor([180])

    def a_character(fed: Tensor) -> float:
        return F.ctc_loss(fed.transpose(0, 1), targets, *lengths, blank=28, reduction="sum").item() / 180

    assert a_character(logits.softmax(-1)) == pytest.approx(-3.1, abs=0.1)
    assert a_character(logits.log_softmax(-1)) == pytest.approx(8.3, abs=0.1)
    with pytest.raises(CtcError, match="The loss of a softmax is negative.*Use log_softmax"):
        ctc_loss(logits.softmax(-1), targets, *lengths, blank=28)
    assert ctc_loss(logits.log_softmax(-1), targets, *lengths, blank=28).item() / 180 == pytest.approx(8.3, abs=0.1)


GOOD_LOGITS = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
GOOD = {
    "log_probs": GOOD_LOGITS.log_softmax(-1),
    "targets": torch.tensor([[1, 2, 2], [3, 0, 0]]),
    "input_lengths": torch.tensor([12, 7]),
    "target_lengths": torch.tensor([3, 1]),
    "blank": 4,
}
REFUSED = {
    "half precision": ({"log_probs": GOOD["log_probs"].half()}, "float16.*float32"),
    "bfloat16": ({"log_probs": GOOD["log_probs"].bfloat16()}, r"bfloat16.*\.float\(\)"),
    "time first": ({"log_probs": GOOD["log_probs"].transpose(0, 1)}, "12 utterances, but there are 2 targets.*batch first"),
    "too few lengths": ({"input_lengths": torch.tensor([12])}, "1 input lengths and 2 target lengths"),
    "two axes": ({"log_probs": GOOD["log_probs"][0]}, r"\(B, T, V\)"),
    "targets in one row": ({"targets": torch.tensor([1, 2])}, "targets"),
    "no utterances": ({name: GOOD[name][:0] for name in GOOD if name != "blank"}, "utterance"),
    "blank outside": ({"blank": 5}, "blank is token 5.*0 to 4"),
    "negative blank": ({"blank": -1}, "blank is token -1"),
    "longer than the frames": ({"input_lengths": torch.tensor([24, 14])}, r"14 to 24.*12 frames.*output_lengths\(\)"),
    "no frames": ({"input_lengths": torch.tensor([12, 0])}, "runs from 0 to 12"),
    "longer than the targets": ({"target_lengths": torch.tensor([4, 1])}, "runs from 1 to 4.*1 to 3"),
    "no text": ({"target_lengths": torch.tensor([3, 0])}, "without text"),
    "softmax": ({"log_probs": GOOD_LOGITS.softmax(-1)}, "holds probabilities"),
    "raw logits": ({"log_probs": GOOD_LOGITS}, "raw logits"),
    "softmax over time": ({"log_probs": GOOD_LOGITS.log_softmax(1)}, "wrong dimension"),
    "softmax over the batch": ({"log_probs": GOOD_LOGITS.log_softmax(0)}, "wrong dimension"),
    "NaN": ({"log_probs": GOOD["log_probs"].masked_fill(torch.arange(12)[:, None] == 3, math.nan)}, "NaN"),
    "log of zeros": ({"log_probs": GOOD["log_probs"].masked_fill(torch.arange(12)[:, None] == 3, -math.inf)}, "only -inf"),
    "blank as a label": ({"targets": torch.tensor([[1, 4, 2], [3, 4, 4]])}, r"1 labels are the blank \(token 4\)"),
    "label too large": ({"targets": torch.tensor([[1, 5, 2], [3, 0, 0]])}, "run from 1 to 5.*0 to 4"),
    "negative label": ({"targets": torch.tensor([[1, -1, 2], [3, 0, 0]])}, "run from -1 to 3"),
    "too short": ({"input_lengths": torch.tensor([3, 7])}, "1 of 2 targets cannot fit: utterance 0.*needs 4 frames.*has 3"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_has_no_meaning_is_refused_with_the_reason(mistake):
    change, telling = REFUSED[mistake]
    with pytest.raises(CtcError, match=telling):
        check(**GOOD | change)
    with pytest.raises(CtcError, match=telling):
        ctc_loss(**GOOD | change)


def test_what_lies_past_the_lengths_does_not_matter():
    expected = ctc_loss(**GOOD)
    rubbish = GOOD["log_probs"].clone()
    rubbish[1, 7:] = 1e3
    targets = torch.tensor([[1, 2, 2], [3, 4, 99]])  # the blank and an unknown token, in the padding
    assert torch.equal(ctc_loss(**GOOD | {"log_probs": rubbish, "targets": targets}), expected)


@given(st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=4))
def test_frames_needed_agrees_with_a_loop(rows):
    expected = []
    for row in rows:
        frames, previous = 0, None
        for label in row:
            frames += 2 if label == previous else 1
            previous = label
        expected.append(frames)
    width = 1 + max(map(len, rows))
    # Padded with the last label: a repeat past the end must not count.
    padded = torch.tensor([row + [row[-1] if row else 0] * (width - len(row)) for row in rows])
    assert frames_needed(padded, torch.tensor([len(row) for row in rows])).tolist() == expected


@st.composite
def valid_batches(draw):
    """Any batch that CTC can align: random blank, targets without it, at least the frames that they need."""
    vocabulary = draw(st.integers(2, 6))
    blank = draw(st.integers(0, vocabulary - 1))
    labels = st.sampled_from([token for token in range(vocabulary) if token != blank])
    rows = draw(st.lists(st.lists(labels, min_size=1, max_size=6), min_size=1, max_size=4))
    lengths = [len(row) + sum(a == b for a, b in itertools.pairwise(row)) + draw(st.integers(0, 4)) for row in rows]
    padded = [row + [blank] * (6 - len(row)) for row in rows]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0]))
    logits = scale * torch.randn(len(rows), max(lengths) + draw(st.integers(0, 3)), vocabulary, generator=generator)
    target_lengths = torch.tensor([len(row) for row in rows])
    return logits.log_softmax(-1), torch.tensor(padded), torch.tensor(lengths), target_lengths, blank


@given(valid_batches())
def test_a_valid_batch_is_never_refused_and_its_loss_is_torchs(batch):
    log_probs, targets, input_lengths, target_lengths, blank = batch
    expected = F.ctc_loss(log_probs.transpose(0, 1), targets, input_lengths, target_lengths, blank=blank, reduction="none")
    loss = ctc_loss(*batch)
    assert torch.equal(loss, expected)
    assert loss.isfinite().all() and (loss >= -1e-4).all()


def test_the_loss_can_be_differentiated():
    logits = GOOD_LOGITS.clone().requires_grad_()
    ctc_loss(**GOOD | {"log_probs": logits.log_softmax(-1)}).sum().backward()
    assert logits.grad.abs().sum() > 0
    assert (logits.grad[1, 7:] == 0).all()  # past the utterance's length
