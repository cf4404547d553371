"""Rules about number formats and about what runs the loss."""

from __future__ import annotations

import torch

from asr_core.doctor.evidence import HALVES, Evidence
from asr_core.doctor.kinds import Kind
from asr_core.doctor.report import Severity
from asr_core.doctor.rules import Found, rule

CUDNN_LONGEST_TARGET = 256  # torch leaves longer targets to its own kernel


@rule(
    22,
    "Half precision",
    effect="torch has no CTC loss for it and refuses, or the sums of the loss lose their digits and end in NaN.",
    fix="log_probs = logits.float().log_softmax(-1), outside autocast.",
    source="espnet/espnet#1836",
)
def half_precision(evidence: Evidence) -> Found | None:
    """log_probs is float16 or bfloat16 (an error); or it is float32 whose values are all float16 or bfloat16 numbers
    that sum to 1 only roughly: the cast came after log_softmax (a warning)."""
    if evidence.dtype in HALVES:
        return Found(f"log_probs is {str(evidence.dtype).removeprefix('torch.')}.")
    if evidence.kind is not Kind.ROUNDED:
        return None
    off = float(evidence.totals[evidence.heard].abs().max())
    return Found(
        f"log_probs was rounded to half precision and cast back: logsumexp over the tokens is off 0 by up to {off:.3g}.",
        Severity.WARNING,
    )


@rule(
    24,
    "The cuDNN loss, chosen by accident",
    effect="int32 targets in one row, blank 0 and equal input lengths select cuDNN's loss: it ignores zero_infinity, "
    "and some versions crash or give NaN gradients.",
    fix="Pass int64 targets: targets.long().",
    source="pytorch/pytorch#22234",
    needs=("device",),
)
def cudnn(evidence: Evidence) -> Found | None:
    """On a CUDA device: int32 targets in one row, blank 0, every input length equal to T, and no target over 256 tokens."""
    given = evidence.targets_as_given
    whole = bool((evidence.input_lengths == evidence.frames).all())
    short = int(evidence.target_lengths.max()) <= CUDNN_LONGEST_TARGET
    if (
        not evidence.device.startswith("cuda")
        or given.ndim != 1
        or given.dtype != torch.int32
        or evidence.blank
        or not (whole and short)
    ):
        return None
    return Found(
        f"targets is int32 in one row, blank is 0, and all input lengths are {evidence.frames}: torch takes cuDNN's loss.",
        Severity.WARNING,
    )


@rule(
    25,
    "A device whose CTC loss is not what was asked for",
    effect="On CUDA the gradient differs a little from run to run, even with every seed set; old torch has no CTC loss "
    "on MPS at all.",
    fix="Compute the loss on the CPU: log_probs.cpu(), which autograd follows back; or use a newer torch on MPS.",
    source="pytorch/pytorch#17798",
    needs=("device",),
    unless=(24,),
)
def device(evidence: Evidence) -> Found | None:
    """Deterministic algorithms were asked for and the loss runs on CUDA; or it runs on MPS and this torch has no kernel
    there."""
    if evidence.device.startswith("cuda") and torch.are_deterministic_algorithms_enabled():
        return Found("Deterministic algorithms are asked for, and torch's CTC loss has none on CUDA.", Severity.WARNING)
    if evidence.device.startswith("mps") and not torch._C._dispatch_has_kernel_for_dispatch_key("aten::_ctc_loss", "MPS"):
        return Found(f"The loss runs on MPS, and torch {torch.__version__} has no CTC loss there.")
    return None
