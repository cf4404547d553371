"""What every encoder is: features and lengths in, logits and lengths out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Encoded(NamedTuple):
    """What an encoder returns for a batch.

    logits: (B, T', V), before log_softmax. Frames past an utterance's length hold no information.
    lengths: (B,) encoder frames of each utterance.
    phone_logits: (B, T', P) from a middle layer, or None where the encoder has no phone head.
    """

    logits: Tensor
    lengths: Tensor
    phone_logits: Tensor | None = None

    @property
    def outputs(self) -> Tensor:
        """(B, T', V + P): the logits, and behind them those of the phones."""
        return self.logits if self.phone_logits is None else torch.cat([self.logits, self.phone_logits], -1)


class Encoder(nn.Module):
    """Base of the encoders.

    subsampling: feature frames in one encoder frame. phones: how many outputs the phone head has, 0 where there is none.
    pretrained: the modules that another model's weights can be loaded into, which a training then changes with more care.
    window, context: feature frames of a long recording that are kept of one window, and how many it sees to each side.
    """

    subsampling: int
    phones: int = 0
    pretrained: tuple[str, ...] = ()
    # 40 s at 10 ms, and 16 s: an encoder may see further, but then what lies beyond moves no probability by a thousandth.
    window: int = 4_000
    context: int = 1_600

    def output_lengths(self, lengths: Tensor | int) -> Tensor | int:
        """Encoder frames T' that `lengths` feature frames T become. Exact for every T of at least 1."""
        raise NotImplementedError

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        """features (B, 1, M, T) padded with anything, lengths (B,) -> Encoded."""
        raise NotImplementedError

    def encode(self, features: Tensor) -> Tensor:
        """(T, M), of one recording in one piece -> (T', V + P), before the softmax."""
        return self(features.T[None, None], torch.tensor([len(features)], device=features.device)).outputs[0]

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
