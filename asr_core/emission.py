"""Emission: what every CTC model says about a recording, and all that anything downstream needs to know of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr_core.text import Alphabet


@dataclass(frozen=True, eq=False)
class Emission:
    """Log-probabilities of every token in every frame. Frame t covers the seconds [t, t + 1) * frame_s.

    log_probs: (T', V) float32, on the CPU.
    frame_s: seconds in a frame.
    phones: (T', P) float32, the same of the phones in phones.PHONES and their blank, where the model hears them.
    """

    log_probs: Tensor
    frame_s: float
    alphabet: Alphabet
    phones: Tensor | None = None

    def __post_init__(self) -> None:
        if self.log_probs.ndim != 2 or self.log_probs.shape[1] != len(self.alphabet):
            raise ValueError(
                f"An emission is (frames, {len(self.alphabet)} tokens); this one has shape {tuple(self.log_probs.shape)}."
            )

    @classmethod
    def of_outputs(cls, outputs: Tensor, frame_s: float, alphabet: Alphabet) -> Emission:
        """(T', V + P), what a Recogniser gives out: tokens, then phones, before the softmax of each part or after it."""
        tokens = outputs[:, : len(alphabet)].log_softmax(-1)
        phones = outputs[:, len(alphabet) :].log_softmax(-1) if outputs.shape[1] > len(alphabet) else None
        return cls(tokens, frame_s, alphabet, phones)

    @classmethod
    def joined(cls, parts: Sequence[Emission]) -> Emission:
        """One after the other, of one model; one at least."""
        log_probs, phones = torch.cat([part.log_probs for part in parts]), [part.phones for part in parts]
        first = parts[0]
        return cls(log_probs, first.frame_s, first.alphabet, None if first.phones is None else torch.cat(phones))

    def __len__(self) -> int:
        return len(self.log_probs)

    def between(self, first: int, stop: int | None = None) -> Emission:
        """The frames from `first` up to `stop`, which is the first that is left out; to the end when None."""
        phones = None if self.phones is None else self.phones[first:stop]
        return Emission(self.log_probs[first:stop], self.frame_s, self.alphabet, phones)
