"""The calculators against torch."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from asr_core.doctor.calculators import (
    CalculatorError,
    Convolution,
    feasibility,
    initial_loss,
    layers_of,
    lengths_of,
    lengths_that_fit,
    output_length,
)

LAYERS = st.builds(Convolution, st.integers(1, 7), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))


@given(st.integers(1, 400), st.integers(2, 60), st.lists(st.integers(1, 3), min_size=1, max_size=60))
def test_the_first_loss_is_torchs_on_uniform_log_probs(frames, vocabulary, target):
    target = [1 + token % (vocabulary - 1) for token in target]
    repeats = sum(a == b for a, b in itertools.pairwise(target))
    uniform = torch.zeros(frames, 1, vocabulary, dtype=torch.float64).log_softmax(-1)
    loss = F.ctc_loss(uniform, torch.tensor([target]), [frames], [len(target)], reduction="sum").item()
    calculation = initial_loss(frames, len(target), repeats, vocabulary)
    assert calculation.value == pytest.approx(loss, rel=1e-5, abs=1e-9)
    if math.isfinite(loss):
        assert float(calculation.formula.rsplit("= ", 1)[1]) == pytest.approx(loss, abs=1e-3)
        assert f"{loss / len(target):.2f} nats a character" in calculation.verdict
    else:
        assert "No path spells this text" in calculation.verdict
    assert feasibility(target, frames).value <= frames or math.isinf(loss)


def test_the_formula_has_the_numbers_in_it():
    assert initial_loss(600, 180, 5, 29).formula == (
        "T ln V − ln binom(T + S − R, 2S) = 600 · ln 29 − ln binom(775, 360) = 1488.6917"
    )
    assert output_length(1200, [Convolution(3, 2, 1)]).formula == "layer 1: (1200 + 2 · 1 − 1 · (3 − 1) − 1) // 2 + 1 = 600"
    assert feasibility("hello", 6).formula == "S + R = 5 + 1 = 6; T = 6"
    assert feasibility("hello", 6).verdict == "It fits, with 0 frames to spare."
    assert feasibility([1, 1, 1], 4).verdict == "It cannot fit: 1 frames too few, so its loss is infinite."


@given(st.integers(1, 300), st.lists(LAYERS, max_size=4))
def test_the_output_length_is_that_of_torchs_convolutions(length, layers):
    for convolution, shape in ((nn.Conv1d, (1, 1, length)), (nn.Conv2d, (1, 1, 5, length))):
        x = torch.zeros(shape)
        try:
            for layer in layers:
                one = len(shape) == 3
                settings = [
                    value if one else (default, value)
                    for value, default in ((layer.kernel, 1), (layer.stride, 1), (layer.padding, 0), (layer.dilation, 1))
                ]
                x = convolution(1, 1, settings[0], settings[1], settings[2], settings[3])(x)
        except RuntimeError:
            with pytest.raises(CalculatorError, match="nothing comes out"):
                output_length(length, layers)
            return
        assert output_length(length, layers).value == x.shape[-1]


def test_the_starting_scripts_lengths_lose_a_frame_and_it_says_so():
    calculation = output_length(1201, [Convolution(3, stride=2, padding=1)])
    assert calculation.value == 601
    assert calculation.verdict == "601 frames. Dividing by the strides would give 600."


@given(st.lists(st.integers(1, 2), min_size=1, max_size=6), st.integers(1, 12))
def test_a_target_fits_when_torchs_loss_is_finite(target, frames):
    uniform = torch.zeros(frames, 1, 3).log_softmax(-1)
    loss = F.ctc_loss(uniform, torch.tensor([target]), [frames], [len(target)], reduction="sum")
    assert feasibility(target, frames).verdict.startswith("It fits" if bool(loss.isfinite()) else "It cannot fit")


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: Convolution(0), "kernel is 0"),
        (lambda: Convolution(3, stride=0), "stride is 0"),
        (lambda: Convolution(3, padding=-1), "padding is -1"),
        (lambda: Convolution(3, dilation=1.5), "dilation is 1.5"),
        (lambda: output_length(0, []), "length is 0"),
        (lambda: initial_loss(10, 3, 3, 29), "repeats is 3"),
        (lambda: initial_loss(10**9, 3, 0, 29), "frames is 1000000000"),
        (lambda: initial_loss(10, 3, 0, 1), "vocabulary is 1"),
        (lambda: feasibility("a", -1), "frames is -1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_name(attempt, named):
    with pytest.raises(CalculatorError, match=named):
        attempt()


def test_layers_are_read_a_line_each_with_what_is_left_out_as_torch_has_it():
    assert layers_of("3\n11 2, 5\n\n5 1 2 2 ".replace("\n\n", "\n")) == [
        Convolution(3),
        Convolution(11, stride=2, padding=5),
        Convolution(5, padding=2, dilation=2),
    ]
    assert layers_of(" \n") == []


@pytest.mark.parametrize("line", ["three", "3 2 1 1 1", "3 -1", "3.5", ""])
def test_a_line_that_is_no_layer_is_named(line):
    with pytest.raises(CalculatorError, match="^Line 2 is"):
        layers_of(f"3 2 1\n{line}\n3 2 1")


def test_lengths_are_read_from_whatever_a_script_prints():
    assert lengths_of("tensor([92, 110,\n 75], dtype=torch.int32)") == [92, 110, 75]
    assert lengths_of("0 7") == [0, 7]
    for nothing in ("", "none", "1.5", "-3"):
        with pytest.raises(CalculatorError, match="no whole number"):
            lengths_of(nothing)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6))
def test_lengths_fit_when_a_text_without_repeats_has_a_finite_loss(pairs):
    fitting = 0
    for frames, tokens in pairs:
        uniform, target = torch.zeros(frames, 1, 10).log_softmax(-1), torch.arange(1, tokens + 1)
        fitting += bool(F.ctc_loss(uniform, target, [frames], [tokens], reduction="sum").isfinite())
    assert lengths_that_fit(*map(list, zip(*pairs, strict=True))).value == fitting


def test_lengths_of_two_batches_are_refused():
    with pytest.raises(CalculatorError, match="3 input lengths and 2 target lengths"):
        lengths_that_fit([1, 2, 3], [1, 2])
