"""Sound: a recording and its log-mel frames, as every result carries them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

UNHEARD_RATE = 16_000  # Hz: what the duration of a recording without its sound is counted in


@dataclass(frozen=True, eq=False)
class Sound:
    """samples: (S,) float32 at sample_rate Hz. features: (T, M) normalised log-mel; frame t is centred on t * frame_s.

    name: of the file it came from. Where only the duration is known (`unheard`) there are no frames.
    """

    samples: np.ndarray
    sample_rate: int
    features: Tensor
    frame_s: float
    name: str = "recording"

    @classmethod
    def unheard(cls, duration_s: float, name: str = "recording") -> Sound:
        """A recording that is not at hand: as long as it was, without frames, and nothing of it counts as silent."""
        samples = np.broadcast_to(np.float32(0), round(duration_s * UNHEARD_RATE))  # takes no memory
        return cls(samples, UNHEARD_RATE, torch.empty(0, 1), 0.01, name)

    @property
    def is_heard(self) -> bool:
        """Whether the sound itself is here: to be drawn, played and measured."""
        return len(self.features) > 0

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @cached_property
    def loudness(self) -> np.ndarray:
        """(T,) in [0, 1]: the mean log-mel value of each frame, from the recording's quiet (5 %) to its loud (95 %)."""
        if not self.is_heard:
            return np.ones(1)
        level = self.features.mean(1).numpy()
        quiet, loud = np.percentile(level, (5, 95))
        return np.clip((level - quiet) / max(loud - quiet, 1e-6), 0, 1)

    def loudest(self, start_s: float, end_s: float) -> float:
        """The greatest loudness between two times."""
        first = min(round(start_s / self.frame_s), len(self.loudness) - 1)
        return float(self.loudness[first : max(first + 1, round(end_s / self.frame_s))].max())
