"""Sound: a recording and its log-mel frames, as every result carries them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sound:
    """samples: (S,) float32 at sample_rate Hz. features: (T, M) normalised log-mel; frame t is centred on t * frame_s.

    name: of the file it came from.
    """

    samples: np.ndarray
    sample_rate: int
    features: Tensor
    frame_s: float
    name: str = "recording"

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @cached_property
    def loudness(self) -> np.ndarray:
        """(T,) in [0, 1]: the mean log-mel value of each frame, from the recording's quiet (5 %) to its loud (95 %)."""
        level = self.features.mean(1).numpy()
        quiet, loud = np.percentile(level, (5, 95))
        return np.clip((level - quiet) / max(loud - quiet, 1e-6), 0, 1)

    def loudest(self, start_s: float, end_s: float) -> float:
        """The greatest loudness between two times."""
        first = min(round(start_s / self.frame_s), len(self.loudness) - 1)
        return float(self.loudness[first : max(first + 1, round(end_s / self.frame_s))].max())
