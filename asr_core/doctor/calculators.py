"""Sums to do before training, each with its formula filled in."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from asr_core import ctc

LARGEST = 10_000_000  # frames, tokens or outputs: beyond it somebody mistyped


class CalculatorError(ValueError):
    """Numbers that mean nothing; the message says which."""


@dataclass(frozen=True)
class Calculation:
    """value: the result. formula: how it came about, with the numbers in it, a line a step. verdict: a sentence."""

    value: float
    formula: str
    verdict: str


@dataclass(frozen=True)
class Convolution:
    """One axis of a convolution or pooling layer. Raises CalculatorError for what no layer can have."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            _require(name, getattr(self, name), least)


def initial_loss(frames: int, tokens: int, repeats: int, vocabulary: int) -> Calculation:
    """The loss of an untrained model, in nats an utterance: T ln V - ln binom(T + S - R, 2 S).

    frames T, tokens S of the text, repeats R among them, vocabulary V with the blank.
    """
    _require("frames", frames, 1)
    _require("tokens", tokens, 1)
    _require("repeats", repeats, 0, tokens - 1)
    _require("vocabulary", vocabulary, 2)
    value = ctc.expected_initial_loss(frames, tokens, repeats, vocabulary)
    top, chosen = frames + tokens - repeats, 2 * tokens
    formula = f"T ln V − ln binom(T + S − R, 2S) = {frames} · ln {vocabulary} − ln binom({top}, {chosen})"
    if math.isinf(value):
        return Calculation(value, f"{formula} = ∞", "No path spells this text: it needs more frames than there are.")
    verdict = f"{value / tokens:.2f} nats a character. A first loss far from it, or below 0, has a cause."
    return Calculation(value, f"{formula} = {value:.4f}", verdict)


def output_length(length: int, layers: Sequence[Convolution]) -> Calculation:
    """The frames that a stack of convolutions makes of `length` frames, rounded down after every layer as torch does."""
    _require("length", length, 1)
    lines, now = [], length
    for number, layer in enumerate(layers, 1):
        span = now + 2 * layer.padding - layer.dilation * (layer.kernel - 1) - 1
        after = span // layer.stride + 1
        lines.append(
            f"layer {number}: ({now} + 2 · {layer.padding} − {layer.dilation} · ({layer.kernel} − 1) − 1) // "
            f"{layer.stride} + 1 = {after}"
        )
        if after < 1:
            raise CalculatorError(
                f"Layer {number} gets {now} frames and its kernel reaches over "
                f"{layer.dilation * (layer.kernel - 1) + 1}, of which {2 * layer.padding} may be padding: nothing comes "
                "out. Use longer audio or smaller kernels."
            )
        now = after
    halved = length // math.prod(layer.stride for layer in layers)
    verdict = f"{now} frames." + ("" if halved == now else f" Dividing by the strides would give {halved}.")
    return Calculation(now, "\n".join(lines) or f"no layer: {length}", verdict)


def layers_of(text: str) -> list[Convolution]:
    """One layer a line: kernel, then stride, padding and dilation where they are not 1, 0 and 1. Raises CalculatorError."""
    layers = []
    for number, line in enumerate(text.strip().splitlines(), 1):
        values = line.replace(",", " ").split()
        if not 1 <= len(values) <= 4 or not all(value.isdecimal() for value in values):
            raise CalculatorError(
                f"Line {number} is {line.strip()[:40]!r}; expected one to four whole numbers: kernel, stride, padding, "
                "dilation."
            )
        layers.append(Convolution(*map(int, values)))
    return layers


def feasibility(target: Sequence[object], frames: int) -> Calculation:
    """The frames that a target needs, S + R: one a token, and a blank between equal neighbours. target: a text or ids."""
    _require("frames", frames, 0)
    repeats = sum(left == right for left, right in pairwise(target))
    needed = len(target) + repeats
    verdict = (
        f"It fits, with {frames - needed} frames to spare."
        if needed <= frames
        else (f"It cannot fit: {needed - frames} frames too few, so its loss is infinite.")
    )
    return Calculation(needed, f"S + R = {len(target)} + {repeats} = {needed}; T = {frames}", verdict)


def lengths_of(text: str) -> list[int]:
    """Whole numbers, with anything between them, such as a printed tensor. Raises CalculatorError when there are none."""
    numbers = [int(number) for number in re.findall(r"(?<![\w.-])\d+(?![\w.])", text)]
    if not numbers:
        raise CalculatorError("There is no whole number here; expected lengths such as 92, 110, 75.")
    for number in numbers:
        _require("a length", number, 0)
    return numbers


def lengths_that_fit(input_lengths: Sequence[int], target_lengths: Sequence[int]) -> Calculation:
    """How many targets of a batch have no more tokens than frames. Their letters are not known, so neither is R."""
    if len(input_lengths) != len(target_lengths):
        raise CalculatorError(
            f"There are {len(input_lengths)} input lengths and {len(target_lengths)} target lengths; expected one of each "
            "for every utterance."
        )
    spare = [frames - tokens for frames, tokens in zip(input_lengths, target_lengths, strict=True)]
    fitting = sum(each >= 0 for each in spare)
    tightest = min(range(len(spare)), key=spare.__getitem__)
    formula = f"T − S of utterance {tightest}, the tightest: {input_lengths[tightest]} − {target_lengths[tightest]}"
    verdict = f"{fitting} of {len(spare)} targets fit"
    verdict += "; equal neighbours in a text need a frame more each." if spare[tightest] >= 0 else ", the others never will."
    return Calculation(fitting, f"{formula} = {spare[tightest]}", verdict)


def _require(name: str, value: int, least: int, most: int = LARGEST) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise CalculatorError(f"{name} is {value!r}; it must be a whole number from {least} to {most:,}.")
