"""diagnose: every rule on one batch, and the three numbers nobody prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

# Each of these registers its rules.
from asr_core.doctor import devices, distributions, models, targets_and_lengths, vocabulary  # noqa: F401
from asr_core.doctor.evidence import Evidence
from asr_core.doctor.report import Diagnosis
from asr_core.doctor.rules import Examination


def diagnose(
    log_probs: object,
    targets: object,
    input_lengths: object,
    target_lengths: object,
    *,
    blank: int = 0,
    loss: object = None,
    reduction: str | None = None,
    zero_infinity: bool = False,
    step: int | None = None,
    ids: Sequence[object] | None = None,
    labels: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    durations: object = None,
    sample_rate: float | None = None,
    expected_sample_rate: float | None = None,
    device: str | None = None,
    model: nn.Module | None = None,
    batch: object = None,
) -> Diagnosis:
    """What is wrong with a batch, as it is given to torch.nn.CTCLoss, and with the model that made it.

    log_probs: (T, B, V), the tensor given to the loss, not a detached copy: its autograd history tells how it was made.
    targets: (B, L) padded with anything, or all in one row (sum of target_lengths,). input_lengths, target_lengths: (B,).
    Any of them may be torch, numpy, DLPack or lists. Nothing is moved, changed or kept.
    blank, zero_infinity: as given to the loss. loss: what it returned, before .item(); reduction: what was asked of it.
    step: of training, counted from 0; None for a batch that is not trained on.
    ids: names for the utterances, for the findings. labels: the text of every output, V of them; texts: what the targets
    should spell, B of them. durations: (B,) of the utterances, in any unit.
    sample_rate, expected_sample_rate: Hz, of this audio and of the model's training.
    device: of the loss, where log_probs is not a tensor on it.
    model, batch: the module, and what it is called with: a tensor, a tuple of arguments or a dictionary of keyword
    arguments. It is called again, in eval mode, and put back as it was.

    Raises EvidenceError, a ValueError, when the shapes make no batch.
    """
    return conclude(Evidence(**locals()))


def conclude(evidence: Evidence, heavy: bool = True) -> Diagnosis:
    """heavy: also the rules and the numbers that compute the CTC loss or run the model."""
    examination = Examination(evidence, heavy)
    loss = expected = ratio = None
    if evidence.characters:
        expected = sum(evidence.expected_initial_losses) / evidence.characters
        if heavy:
            loss = float(evidence.losses[evidence.computable].sum()) / evidence.characters
            loss = loss if math.isfinite(loss) else None
            ratio = evidence.ignores_audio_ratio if evidence.holds_log_probabilities else None
    return Diagnosis(
        findings=examination.findings,
        skipped=examination.skipped,
        utterances=evidence.utterances,
        infeasible=int(evidence.infeasible.sum()),
        expected_initial_loss=expected,
        loss=loss,
        ignores_audio_ratio=ratio if ratio is not None and math.isfinite(ratio) else None,
        blank_rate=evidence.blank_rate,
    )
