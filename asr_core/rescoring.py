"""A second opinion on the texts of a beam search: the phones that the encoder hears in its middle layers.

English spells many sounds in many ways, so a text may be likely letter by letter and wrong to the ear. A text's letters are
turned into phones, and the probability of those under the phone posteriors is weighed in, as a second acoustic model of a
list of hypotheses would be (Ostendorf et al. 1991, "Integration of Diverse Recognition Methodologies Through Reevaluation of
N-Best Sentence Hypotheses").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr_core.phones import PHONE_BLANK, pronounce_somehow

CANDIDATES = 64  # texts that are asked about; with all 256 no fewer words are wrong


def most_agreed(texts: Sequence[str], scores: Sequence[float], phones: Tensor, weight: float) -> int:
    """The index of the best text by score + weight * ln p(its phones), of the first CANDIDATES.

    texts, scores: best first, as a beam search gives them. phones (T', P): log-probabilities.
    """
    heard = phone_log_probs(texts[:CANDIDATES], phones)
    return int((np.array(scores[:CANDIDATES]) + weight * heard).argmax())


def phone_log_probs(texts: Sequence[str], phones: Tensor) -> np.ndarray:
    """ln of the sum over every path of each text's phones, (N,), -inf where they do not fit. phones (T', P)."""
    spoken = [torch.tensor(pronounce_somehow(text), dtype=torch.long) for text in texts]
    lengths = torch.tensor([len(each) for each in spoken])
    losses = F.ctc_loss(  # not ctc.ctc_loss, which refuses what does not fit
        phones[:, None].expand(-1, len(spoken), -1),  # (T', N, P)
        pad_sequence(spoken, batch_first=True),
        torch.full_like(lengths, len(phones)),
        lengths,
        blank=PHONE_BLANK,
        reduction="none",
    )
    return -losses.numpy()
