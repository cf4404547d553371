"""What a tensor of scores is: log-probabilities, or one of the things that people feed to the loss in their place."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from asr_core.ctc import NORMALISATION_TOLERANCE

NEARLY = 0.05  # of logsumexp: log-probabilities that went through bfloat16 stay below this
SUM_TOLERANCE = 1e-2  # of probabilities that should sum to 1


class Kind(Enum):
    LOG_PROBABILITIES = "log-probabilities"
    ROUNDED = "log-probabilities that went through float16 or bfloat16"
    NEARLY = "log-probabilities to which something was added"
    PROBABILITIES = "probabilities"
    OVER_TIME = "a softmax over the frames"
    OVER_BATCH = "a softmax over the batch"
    LOGITS = "raw logits"
    UNREADABLE = "NaN or infinite in every frame"


def kind_of(values: Tensor, totals: Tensor, heard: Tensor) -> Kind:
    """values (T, B, V); totals (T, B), their logsumexp over the tokens; heard (T, B) bool, the frames that count."""
    totals = totals[heard]  # (N,)
    totals = totals[totals.isfinite()]
    if not len(totals):
        return Kind.UNREADABLE
    off = float(totals.abs().max())
    if off <= NORMALISATION_TOLERANCE:
        return Kind.LOG_PROBABILITIES
    probable = bool((values[heard] >= 0).all()) and bool((values[heard] <= 1 + SUM_TOLERANCE).all())
    if probable and _near(values.sum(-1)[heard], 1, SUM_TOLERANCE):
        return Kind.PROBABILITIES
    for axis, kind in ((0, Kind.OVER_TIME), (1, Kind.OVER_BATCH)):
        if _near(values.logsumexp(axis), 0, NORMALISATION_TOLERANCE):
            return kind
        if probable and _near(values.sum(axis), 1, SUM_TOLERANCE):
            return kind
    if off > NEARLY:
        return Kind.LOGITS
    return (
        Kind.ROUNDED if any(_went_through(half, values[heard]) for half in (torch.bfloat16, torch.float16)) else Kind.NEARLY
    )


def _near(values: Tensor, expected: float, tolerance: float) -> bool:
    return bool(((values - expected).abs() <= tolerance).all())


def _went_through(half: torch.dtype, values: Tensor) -> bool:
    return torch.equal(values.to(half).to(values.dtype), values)
