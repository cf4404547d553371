"""Sound: a recording and its log-mel frames, as every result carries them, or a part of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from asr_core.spool import Spool

AT_ONCE = 30_000  # feature frames that are read from a spool at a time


@dataclass(frozen=True)
class Part:
    """Which part of a recording a sound is. start_s: where it begins there. number: from 1 to count.

    levels: the quiet and the loud of the whole, by which loudness is measured; None for the sound's own.
    """

    start_s: float = 0.0
    number: int = 1
    count: int = 1
    levels: tuple[float, float] | None = None


WHOLE = Part()

UNHEARD_RATE = 16_000  # Hz: what the duration of a recording without its sound is counted in


@dataclass(frozen=True, eq=False)
class Sound:
    """samples: (S,) float32 at sample_rate Hz. features: (T, M) normalised log-mel; frame t is centred on t * frame_s.

    Those of a long recording lie on disk: slice what you need, `[:]` is all. name: of the file it came from.
    part: times, as everywhere, are those of the whole recording; samples and frames are the part's own.
    Where only the duration is known (`unheard`) there are no frames.
    """

    samples: np.ndarray | Spool
    sample_rate: int
    features: np.ndarray | Spool
    frame_s: float
    name: str = "recording"
    part: Part = WHOLE

    @classmethod
    def unheard(cls, duration_s: float, name: str = "recording") -> Sound:
        """A recording that is not at hand: as long as it was, without frames, and nothing of it counts as silent."""
        samples = np.broadcast_to(np.float32(0), round(duration_s * UNHEARD_RATE))  # takes no memory
        return cls(samples, UNHEARD_RATE, np.empty((0, 1), np.float32), 0.01, name)

    @property
    def is_heard(self) -> bool:
        """Whether the sound itself is here: to be drawn, played and measured."""
        return len(self.features) > 0

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def start_s(self) -> float:
        return self.part.start_s

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    def between(self, start_s: float, end_s: float) -> Sound:
        """The part from one time to another, both on the edge of a feature frame."""
        first, stop = self.frame_at(start_s), self.frame_at(end_s)
        hop = round(self.frame_s * self.sample_rate)
        return replace(
            self,
            samples=self.samples[first * hop : stop * hop],
            features=self.features[first : stop + 1],  # as in a whole recording, one is centred on the end
            part=replace(
                self.part, start_s=self.start_s + first * self.frame_s, levels=self.levels if self.is_heard else None
            ),
        )

    def frame_at(self, time_s: float) -> int:
        """The feature frame nearest to a time."""
        return round((time_s - self.start_s) / self.frame_s)

    @cached_property
    def _level(self) -> np.ndarray:
        """(T,): the mean log-mel value of each frame."""
        starts = range(0, len(self.features), AT_ONCE)
        return np.concatenate([self.features[start : start + AT_ONCE].mean(1) for start in starts])

    @cached_property
    def levels(self) -> tuple[float, float]:
        """The recording's quiet (5 %) and its loud (95 %), as mean log-mel values."""
        return self.part.levels or tuple(np.percentile(self._level, (5, 95)).tolist())

    @cached_property
    def loudness(self) -> np.ndarray:
        """(T,) in [0, 1]: the mean log-mel value of each frame, from the recording's quiet to its loud."""
        if not self.is_heard:
            return np.ones(1)
        quiet, loud = self.levels
        return np.clip((self._level - quiet) / max(loud - quiet, 1e-6), 0, 1)

    def loudest(self, start_s: float, end_s: float) -> float:
        """The greatest loudness between two times."""
        first = min(self.frame_at(start_s), len(self.loudness) - 1)
        return float(self.loudness[first : max(first + 1, self.frame_at(end_s))].max())
