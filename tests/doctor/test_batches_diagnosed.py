"""Rules 9 to 19, 21, 24, 25, 27: lengths, labels, the loss that was printed, the machine. Each made wrong, and made
right."""

import math

import pytest
import torch
from torch.nn import functional as F
from toy import BLANK, LABELS, VOCABULARY, Toy, case, of_model, right, spoken, trained

from asr_core.doctor import diagnose

SPOKEN = spoken()
LENGTHS, TARGETS, TARGET_LENGTHS = SPOKEN["lengths"], SPOKEN["targets"], SPOKEN["target_lengths"]
FRAMES = int(LENGTHS.max())
UNEVEN = torch.tensor([9, 5, 4, 3, 6, 5])
TEXTS = ["".join(LABELS[t] for t in row[:n]) for row, n in zip(TARGETS.tolist(), TARGET_LENGTHS.tolist(), strict=True)]


class Subsampled(Toy):
    """Twice as few frames, with the formula that says how many."""

    def forward(self, features, lengths):
        return super().forward(features, lengths)[:, ::2]

    def output_lengths(self, lengths):
        return (lengths - 1) // 2 + 1


def subsampled(input_lengths) -> dict:
    model = Subsampled()
    return of_model(model) | {"input_lengths": input_lengths}


def short(frames: int, **changes) -> dict:
    """Every utterance cut to so many frames, in which not all the texts fit."""
    arguments = case(None, lambda logits: right(logits)[:frames])
    return arguments | {"input_lengths": torch.full_like(LENGTHS, frames)} | changes


def finite_loss(frames: int) -> dict:
    arguments = short(frames)
    names = ("log_probs", "targets", "input_lengths", "target_lengths")
    return arguments | {"loss": F.ctc_loss(*(arguments[name] for name in names), zero_infinity=True)}


def padded_with(token: int, lengths: torch.Tensor = TARGET_LENGTHS) -> dict:
    inside = torch.arange(TARGETS.shape[1])[None, :] < lengths[:, None]
    return case(targets=TARGETS.where(inside, token), target_lengths=torch.full_like(TARGET_LENGTHS, TARGETS.shape[1]))


def rolled(blank: int, targets: torch.Tensor) -> dict:
    """A trained model whose vocabulary has the blank last, and its letters from 0."""
    return case(trained(), lambda logits: right(logits.roll(-1, -1)), blank=blank, targets=targets)


def lost_letters(kept: str) -> dict:
    """Targets of a script that skips each letter it has no token for."""
    rows = [
        [t for t in row[:n] if LABELS[t] in kept] for row, n in zip(TARGETS.tolist(), TARGET_LENGTHS.tolist(), strict=True)
    ]
    return case(
        targets=[t for row in rows for t in row], target_lengths=[len(row) for row in rows], labels=LABELS, texts=TEXTS
    )


def with_unknown() -> dict:
    return case(targets=TARGETS.where(TARGETS < 8, 11), labels=(*LABELS[:-1], "<unk>"))


def losses() -> torch.Tensor:
    arguments = case()
    names = ("log_probs", "targets", "input_lengths", "target_lengths")
    return F.ctc_loss(*(arguments[name] for name in names), reduction="none").detach()


def mean() -> torch.Tensor:
    return (losses() / TARGET_LENGTHS).mean()


def replaced(tensor: torch.Tensor, index: int, value: int) -> torch.Tensor:
    changed = tensor.clone()
    changed[index] = value
    return changed


def in_one_row(dtype: torch.dtype) -> dict:
    row = torch.cat([row[:n] for row, n in zip(TARGETS, TARGET_LENGTHS.tolist(), strict=True)])
    return case(targets=row.to(dtype), input_lengths=torch.full_like(LENGTHS, FRAMES), device="cuda")


FITTING = {
    "not subsampled": (9, "error", lambda: case(input_lengths=LENGTHS * 2), case),
    "not subsampled, all but the longest": (
        9,
        "warning",
        lambda: subsampled(LENGTHS.clamp_max(FRAMES // 2)),
        lambda: subsampled((LENGTHS - 1) // 2 + 1),
    ),
    "divided twice": (10, "warning", lambda: case(input_lengths=LENGTHS // 2), case),
    "divided by eight": (10, "error", lambda: case(input_lengths=LENGTHS // 8), case),
    "T // 2": (10, "note", lambda: case(input_lengths=LENGTHS - 1), case),
    "T // 2, by the model's formula": (
        10,
        "warning",
        lambda: subsampled(LENGTHS // 2),
        lambda: subsampled((LENGTHS - 1) // 2 + 1),
    ),
    "padded input": (
        11,
        "warning",
        lambda: case(input_lengths=[FRAMES] * 6, durations=LENGTHS),
        lambda: case(durations=LENGTHS),
    ),
    "cannot fit": (12, "error", lambda: short(8), lambda: short(20)),
    "cannot fit, loss given": (12, "error", lambda: short(8, loss=math.inf), lambda: short(20, loss=3.0)),
    "zero_infinity": (13, "error", lambda: short(8, zero_infinity=True), lambda: short(20, zero_infinity=True)),
    "zero_infinity, by the loss": (13, "error", lambda: finite_loss(8), lambda: finite_loss(20)),
    "padded with the blank": (14, "error", lambda: padded_with(BLANK), case),
    "padded with -100": (14, "error", lambda: padded_with(-100), case),
    "padded with a letter": (14, "warning", lambda: padded_with(3, UNEVEN), lambda: case(target_lengths=UNEVEN)),
    "letters from 0": (15, "error", lambda: case(targets=TARGETS - 1, labels=LABELS), lambda: case(labels=LABELS)),
    "label beyond the end": (16, "error", lambda: case(targets=TARGETS.where(TARGETS != 5, VOCABULARY)), case),
    "negative label": (16, "error", lambda: case(targets=TARGETS.where(TARGETS != 5, -1)), case),
    "blank of the labels": (17, "error", lambda: case(labels=(*LABELS[1:], LABELS[0])), lambda: case(labels=LABELS)),
    "blank of the model": (17, "error", lambda: rolled(BLANK, TARGETS), lambda: rolled(VOCABULARY - 1, TARGETS - 1)),
    "unknown letters": (18, "error", with_unknown, lambda: case(labels=LABELS)),
    "letters lost": (18, "error", lambda: lost_letters("abcdefg"), lambda: lost_letters("abcdefghijk")),
    "no text": (19, "warning", lambda: case(target_lengths=replaced(TARGET_LENGTHS, 2, 0)), case),
    "no frames": (19, "error", lambda: case(input_lengths=replaced(LENGTHS, 2, 0)), case),
    "divided by the batch twice": (21, "note", lambda: case(loss=mean() / 6), lambda: case(loss=mean())),
    "a sum called a mean": (
        21,
        "warning",
        lambda: case(loss=losses().sum(), reduction="mean"),
        lambda: case(loss=mean(), reduction="mean"),
    ),
    "cuDNN": (24, "warning", lambda: in_one_row(torch.int32), lambda: in_one_row(torch.int64)),
    "sample rate": (
        27,
        "error",
        lambda: case(sample_rate=44_100, expected_sample_rate=16_000),
        lambda: case(sample_rate=16_000, expected_sample_rate=16_000),
    ),
}


@pytest.mark.parametrize("mistake", FITTING)
def test_the_mistake_is_named_and_nothing_else_and_the_right_way_is_healthy(mistake):
    rule, severity, wrong, well = FITTING[mistake]
    (finding,) = diagnose(**wrong()).findings
    assert (finding.rule, finding.severity.value) == (rule, severity)
    assert diagnose(**well()).findings == ()
