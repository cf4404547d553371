"""What training does to speech so that the model meets more of the world: speed, rooms, telephones, noise, gain,
and SpecAugment's masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torchaudio
from torch import Tensor


@dataclass(frozen=True)
class AugmentConfig:
    """Widths of masks are in mel bins and feature frames. Every value of 0 turns its part off."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn for each utterance; pitch follows, as on a tape
    gain_db: float = 12.0  # the waveform is scaled by a random -gain_db to +gain_db / 2
    reverberation: float = 0.0  # part of the utterances that are put into a room
    rt60_s: tuple[float, float] = (0.1, 0.5)  # of the room: the time in which its echo falls by 60 dB
    band_limit: float = 0.0  # part of the utterances that lose their high frequencies
    cutoff_hz: tuple[float, float] = (2_500.0, 7_000.0)
    noise: float = 0.0  # part of the utterances that get noise
    snr_db: tuple[float, float] = (5.0, 30.0)  # how much louder the speech is than the noise
    frequency_masks: int = 2
    frequency_width: int = 20
    time_masks: int = 5
    time_width: int = 30
    time_fraction: float = 0.08  # one time mask hides at most this much of the utterance


@cache
def _tape(speed: float) -> torchaudio.transforms.Resample:
    """Plays `speed` times as fast; speeds are in tenths. Its filter is made once."""
    return torchaudio.transforms.Resample(round(10 * speed), 10)


def augment_waveform(waveform: Tensor, config: AugmentConfig, sample_rate: int) -> Tensor:
    """(S,) -> (S / speed,). Draws from torch's random generator."""
    speed = config.speeds[int(torch.randint(len(config.speeds), ()))]
    if speed != 1.0:
        waveform = _tape(speed)(waveform)
    if _drawn(config.reverberation):
        waveform = reverberate(waveform, _between(*config.rt60_s), sample_rate)
    if _drawn(config.band_limit):
        waveform = limit_band(waveform, _between(*config.cutoff_hz), sample_rate)
    if _drawn(config.noise):
        waveform = add_noise(waveform, _between(*config.snr_db), exponent=_between(0.0, 2.0))
    if config.gain_db:
        waveform = waveform * 10 ** (_between(-config.gain_db, config.gain_db / 2) / 20)
    return waveform


def _drawn(probability: float) -> bool:
    return probability > 0 and float(torch.rand(())) < probability


def _between(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _fft_size(samples: int) -> int:
    """A power of two that holds them: other sizes take up to ten times as long."""
    return 2 ** samples.bit_length()


def reverberate(waveform: Tensor, rt60_s: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,), as loud as before: the direct sound and an echo of noise that decays by 60 dB in `rt60_s`.

    A diffuse room (Polack 1988); the whole echo of an impulse has half the energy of its direct sound.
    """
    time_s = torch.arange(round(rt60_s * sample_rate) + 1) / sample_rate
    echo = torch.randn(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    echo *= math.sqrt(0.5) / echo.norm()
    echo[0] = 1.0
    size = _fft_size(len(waveform) + len(echo))
    wet = torch.fft.irfft(torch.fft.rfft(waveform, size) * torch.fft.rfft(echo, size), size)[: len(waveform)]
    return wet * (waveform.norm() / wet.norm().clamp(min=1e-9))


def limit_band(waveform: Tensor, cutoff_hz: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,) without what lies above `cutoff_hz`; the edge is a raised cosine, a tenth of the cutoff wide."""
    size = _fft_size(len(waveform))
    spectrum = torch.fft.rfft(waveform, size)
    frequency_hz = torch.linspace(0, sample_rate / 2, len(spectrum))
    position = ((frequency_hz - cutoff_hz) / (0.1 * cutoff_hz)).clamp(0, 1)
    return torch.fft.irfft(spectrum * (0.5 + 0.5 * torch.cos(math.pi * position)), size)[: len(waveform)]


def add_noise(waveform: Tensor, snr_db: float, exponent: float) -> Tensor:
    """(S,) -> (S,) with noise whose power falls with frequency to the `exponent`: 0 white, 1 pink, 2 brown."""
    spectrum = torch.fft.rfft(torch.randn(_fft_size(len(waveform))))
    spectrum *= torch.arange(1, len(spectrum) + 1) ** (-exponent / 2)
    noise = torch.fft.irfft(spectrum)[: len(waveform)]
    return waveform + noise * (waveform.norm() / noise.norm().clamp(min=1e-9)) * 10 ** (-snr_db / 20)


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
