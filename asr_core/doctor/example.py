"""A sick batch to try the Doctor on: made-up logits, through softmax where log_softmax belongs."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

FRAMES, VOCABULARY = (80, 64, 71), 29
TOKENS = (12, 9, 15)


def sick_batch() -> bytes:
    """The bytes of an .npz file."""
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(max(FRAMES), len(FRAMES), VOCABULARY, generator=draw)  # (T, B, V)
    targets = [torch.randint(1, VOCABULARY, (tokens,), generator=draw) for tokens in TOKENS]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        log_probs=logits.softmax(-1).numpy(),
        targets=pad_sequence(targets, batch_first=True).numpy(),
        input_lengths=np.array(FRAMES),
        target_lengths=np.array(TOKENS),
        blank=0,
    )
    return file.getvalue()
