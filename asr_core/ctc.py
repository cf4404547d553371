"""The CTC loss, checked: what is not a log-distribution, or cannot be aligned, is refused with the reason.

Graves et al. 2006, "Connectionist Temporal Classification". In every signature log_probs is (B, T', V).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

NORMALISATION_TOLERANCE = 1e-3  # of logsumexp over the tokens: float32 rounding stays below 1e-5


class CtcError(ValueError):
    """Inputs for which the CTC loss has no meaning; the message says what is wrong and how to mend it."""


def frames_needed(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """The fewest frames that hold each target: one a token, and a blank between two equal neighbours.

    targets (B, L), target_lengths (B,) -> (B,).
    """
    inside = torch.arange(1, targets.shape[1], device=targets.device)[None, :] < target_lengths[:, None]  # (B, L - 1)
    repeats = ((targets[:, 1:] == targets[:, :-1]) & inside).sum(1)
    return target_lengths + repeats


def expected_initial_loss(frames: int, tokens: int, repeats: int, vocabulary: int) -> float:
    """The loss, in nats an utterance, of a model that gives every token the same probability, as an untrained one does.

    Every path has probability V^-T, and binom(T + L - R, 2 L) paths collapse to a target of L tokens with R repeats:
    T ln V - ln binom(T + L - R, 2 L).
    """
    n, k = frames + tokens - repeats, 2 * tokens
    if k > n:
        return math.inf
    return frames * math.log(vocabulary) - (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1))


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int) -> Tensor:
    """-ln p(target | audio) of each utterance, in nats: the sum over every path that collapses to the target.

    log_probs (B, T', V) float32 from log_softmax, targets (B, L) padded with anything, lengths (B,) -> (B,).
    Raises CtcError for inputs from which a loss would be negative, infinite or meaningless.
    """
    check(log_probs, targets, input_lengths, target_lengths, blank)
    return F.ctc_loss(
        log_probs.transpose(0, 1),  # torch wants (T', B, V)
        targets.long(),
        input_lengths.long(),
        target_lengths.long(),
        blank=blank,
        reduction="none",
    )


def check(log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int) -> None:
    """Raise CtcError unless ctc_loss means something for these inputs. Shapes as in ctc_loss."""
    if log_probs.ndim != 3 or targets.ndim != 2:
        raise CtcError(
            f"log_probs has shape {tuple(log_probs.shape)} and targets {tuple(targets.shape)}; expected (B, T, V) and "
            "(B, L), padded, a row an utterance."
        )
    batch, frames, vocabulary = log_probs.shape
    if batch == 0:
        raise CtcError("The batch holds no utterance, so it has no loss. Leave empty batches out.")
    if log_probs.dtype not in (torch.float32, torch.float64):
        raise CtcError(f"log_probs is {log_probs.dtype}; the sums of CTC need float32: call .float() first.")
    if not (len(targets) == len(input_lengths) == len(target_lengths) == batch):
        raise CtcError(
            f"log_probs has {batch} utterances, but there are {len(targets)} targets, {len(input_lengths)} input lengths "
            f"and {len(target_lengths)} target lengths. Here log_probs is (B, T, V), batch first."
        )
    if not 0 <= blank < vocabulary:
        raise CtcError(f"The blank is token {blank}, but log_probs has tokens 0 to {vocabulary - 1}.")
    if int(input_lengths.max()) > frames or int(input_lengths.min()) < 1:
        raise CtcError(
            f"input_lengths runs from {int(input_lengths.min())} to {int(input_lengths.max())}, but log_probs has {frames} "
            "frames. Take the lengths from the encoder's own output_lengths()."
        )
    if int(target_lengths.min()) < 1 or int(target_lengths.max()) > targets.shape[1]:
        raise CtcError(
            f"target_lengths runs from {int(target_lengths.min())} to {int(target_lengths.max())}; targets holds 1 to "
            f"{targets.shape[1]} tokens an utterance. Drop utterances without text."
        )
    _check_distribution(log_probs.detach(), input_lengths)
    inside = torch.arange(targets.shape[1], device=targets.device)[None, :] < target_lengths[:, None]  # (B, L)
    labels = targets[inside]
    if bool((labels == blank).any()):
        raise CtcError(
            f"{int((labels == blank).sum())} labels are the blank (token {blank}), which no text contains: paths are then "
            "counted twice and the loss can fall below zero. Give the blank an id of its own, and pass true target lengths."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= vocabulary:
        raise CtcError(
            f"Labels run from {int(labels.min())} to {int(labels.max())}; the model has tokens 0 to {vocabulary - 1}."
        )
    short = (frames_needed(targets, target_lengths) > input_lengths).nonzero()[:, 0]
    if len(short):
        first = int(short[0])
        raise CtcError(
            f"{len(short)} of {batch} targets cannot fit: utterance {first} of the batch needs "
            f"{int(frames_needed(targets, target_lengths)[first])} frames (one a label, one more between equal neighbours) "
            f"and has {int(input_lengths[first])}. Its loss would be infinite: drop it, split it, or subsample less."
        )


def _check_distribution(log_probs: Tensor, input_lengths: Tensor) -> None:
    inside = torch.arange(log_probs.shape[1], device=log_probs.device)[None, :] < input_lengths[:, None]  # (B, T')
    total = log_probs.logsumexp(-1)[inside]  # 0 for a log-distribution
    error = float(total.abs().max())
    if error <= NORMALISATION_TOLERANCE:
        return
    if not math.isfinite(error):
        raise CtcError("log_probs holds NaN or only -inf in some frame. Use log_softmax(-1), not log(softmax(-1)).")
    values = log_probs[inside]  # (N, V)
    if bool((values >= 0).all()) and bool(((values.sum(-1) - 1).abs() < 1e-2).all()):
        raise CtcError(
            "log_probs holds probabilities: every frame sums to 1. The loss of a softmax is negative and falls for ever. "
            "Use log_softmax(-1) in place of softmax(-1)."
        )
    raise CtcError(
        f"log_probs is not a log-distribution: logsumexp over the tokens is off zero by up to {error:.3g}. "
        "These look like raw logits, or a log_softmax over the wrong dimension: use log_softmax(-1)."
    )
