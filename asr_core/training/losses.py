"""What a batch costs: CTC on characters, CTC on phones in the middle, and agreement between two views of an utterance.

Everything is a sum, with its count beside it, so that the parts of several processes add up to the same figures as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr_core import ctc, doctor
from asr_core.ctc import CtcError
from asr_core.data.batches import Batch
from asr_core.models import Encoded, Encoder
from asr_core.phones import PHONE_BLANK


@dataclass(frozen=True)
class Costs:
    """Sums in nats. log_probs (B, T', V) and losses (B,) are the characters', for whoever looks closer."""

    log_probs: Tensor
    losses: Tensor
    characters: int
    phone_loss: Tensor
    phones: int
    disagreement: Tensor

    def total(self, characters: float, phones: float, phone_weight: float, consistency: float) -> Tensor:
        """What is minimised. characters, phones: of the whole batch, in all processes."""
        total = (1 - phone_weight) * self.losses.sum() / characters
        if phones:
            total = total + phone_weight * self.phone_loss / phones
        return total + consistency * self.disagreement / characters


def costs(encoder: Encoder, batch: Batch, blank: int, with_phones: bool, autocast: torch.autocast) -> Costs:
    """Raises CtcError with the Doctor's diagnosis, which names the utterance."""
    device = next(encoder.parameters()).device
    with autocast:
        encoded = encoder(batch.features.to(device), batch.feature_lengths.to(device))
    log_probs = encoded.logits.float().log_softmax(-1)  # (B, T', V)
    ids = [utterance.id for utterance in batch.utterances]
    targets, lengths = batch.targets.to(device), batch.target_lengths.to(device)
    losses = _ctc(encoder, log_probs, targets, encoded.lengths, lengths, blank, ids)
    phone_loss, phones = _phone_loss(encoder, encoded, batch, ids) if with_phones else (losses.new_zeros(()), 0)
    disagreement = _disagreement(log_probs, encoded.lengths) if batch.views == 2 else losses.new_zeros(())
    return Costs(log_probs, losses, int(batch.target_lengths.sum()), phone_loss, phones, disagreement)


def _phone_loss(encoder: Encoder, encoded: Encoded, batch: Batch, ids: Sequence[str]) -> tuple[Tensor, int]:
    """(sum in nats, phones) over the utterances that have a pronunciation that fits."""
    device = encoded.logits.device
    phones, lengths = batch.phones.to(device), batch.phone_lengths.to(device)
    usable = (lengths > 0) & (ctc.frames_needed(phones, lengths) <= encoded.lengths) if phones.shape[1] else lengths > 0
    if not usable.any():
        return encoded.logits.new_zeros((), dtype=torch.float32), 0
    log_probs = encoded.phone_logits.float().log_softmax(-1)[usable]  # (B', T', P)
    ids = [name for name, used in zip(ids, usable.tolist(), strict=True) if used]
    losses = _ctc(encoder, log_probs, phones[usable], encoded.lengths[usable], lengths[usable], PHONE_BLANK, ids)
    return losses.sum(), int(lengths[usable].sum())


def _disagreement(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Each view's divergence from the other, which is held fixed: the sum over frames of KL(other || this).

    CR-CTC, Yao et al. 2024, arXiv 2410.05101. log_probs (2 B, T', V): first all first views, then all second ones.
    """
    other = log_probs.detach().roll(len(log_probs) // 2, 0)
    divergence = (other.exp() * (other - log_probs)).sum(-1)  # (2 B, T')
    inside = torch.arange(log_probs.shape[1], device=lengths.device)[None, :] < lengths[:, None]
    return divergence.masked_fill(~inside, 0.0).sum()


def _ctc(
    encoder: Encoder,
    log_probs: Tensor,
    targets: Tensor,
    lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    ids: Sequence[str],
) -> Tensor:
    """As ctc.ctc_loss, but what it refuses is explained by the Doctor."""
    try:
        return ctc.ctc_loss(log_probs, targets, lengths, target_lengths, blank)
    except CtcError as error:
        tensors = (log_probs.transpose(0, 1), targets, lengths, target_lengths)
        errors = doctor.diagnose(*tensors, blank=blank, ids=ids, model=encoder).errors
        raise CtcError(" ".join(f"{finding.evidence} {finding.fix}" for finding in errors) or str(error)) from error
