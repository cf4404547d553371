"""Emission: what every CTC model says about a recording, and all that anything downstream needs to know of the model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from asr_core.text import Alphabet


@dataclass(frozen=True, eq=False)
class Emission:
    """Log-probabilities of every token in every frame. Frame t covers the seconds [t, t + 1) * frame_s.

    log_probs: (T', V) float32, on the CPU.
    frame_s: seconds in a frame.
    """

    log_probs: Tensor
    frame_s: float
    alphabet: Alphabet

    def __post_init__(self) -> None:
        if self.log_probs.ndim != 2 or self.log_probs.shape[1] != len(self.alphabet):
            raise ValueError(
                f"An emission is (frames, {len(self.alphabet)} tokens); this one has shape {tuple(self.log_probs.shape)}."
            )

    def __len__(self) -> int:
        return len(self.log_probs)

    def between(self, first: int, stop: int) -> Emission:
        """The frames from `first` up to `stop`, which is the first that is left out."""
        return Emission(self.log_probs[first:stop], self.frame_s, self.alphabet)
