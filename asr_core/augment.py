"""What training does to speech so that the model meets more of the world: speed, gain, and SpecAugment's masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torchaudio
from torch import Tensor


@dataclass(frozen=True)
class AugmentConfig:
    """Widths are in mel bins and feature frames. Every value of 0 turns its part off."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn for each utterance; pitch follows, as on a tape
    gain_db: float = 12.0  # the waveform is scaled by a random -gain_db to +gain_db / 2
    frequency_masks: int = 2
    frequency_width: int = 20
    time_masks: int = 5
    time_width: int = 30
    time_fraction: float = 0.08  # one time mask hides at most this much of the utterance


@cache
def _tape(speed: float) -> torchaudio.transforms.Resample:
    """Plays `speed` times as fast; speeds are in tenths. Its filter is made once."""
    return torchaudio.transforms.Resample(round(10 * speed), 10)


def augment_waveform(waveform: Tensor, config: AugmentConfig) -> Tensor:
    """(S,) -> (S / speed,). Draws from torch's random generator."""
    speed = config.speeds[int(torch.randint(len(config.speeds), ()))]
    if speed != 1.0:
        waveform = _tape(speed)(waveform)
    if config.gain_db:
        gain_db = (torch.rand(()) * 1.5 - 1.0) * config.gain_db
        waveform = waveform * 10 ** (gain_db / 20)
    return waveform


def spec_augment(features: Tensor, config: AugmentConfig) -> Tensor:
    """(T, M) -> (T, M) with bands of mel bins and of frames set to the training mean (Park et al. 2019, arXiv 1904.08779).

    Draws from torch's random generator.
    """
    spectrogram = features.T[None]  # (1, M, T), as torchaudio has it
    across_bins = torchaudio.transforms.FrequencyMasking(config.frequency_width)
    across_time = torchaudio.transforms.TimeMasking(config.time_width, p=config.time_fraction)
    for _ in range(config.frequency_masks):
        spectrogram = across_bins(spectrogram)
    for _ in range(config.time_masks):
        spectrogram = across_time(spectrogram)
    return spectrogram[0].T
