"""What training does to speech so that the model meets more of the world: speed, rooms, telephones, noise, silence, gain,
and SpecAugment's masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor


@dataclass(frozen=True)
class AugmentConfig:
    """Widths of masks are in mel bins and feature frames. Every value of 0 turns its part off."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn for each utterance; pitch follows, as on a tape
    gain_db: float = 12.0  # the waveform is scaled by a random -gain_db to +gain_db / 2
    quiet: float = 0.0  # part of the utterances that are scaled by quiet_db instead
    quiet_db: tuple[float, float] = (-40.0, -12.0)
    reverberation: float = 0.0  # part of the utterances that are put into a room
    rt60_s: tuple[float, float] = (0.1, 0.5)  # of the room: the time in which its echo falls by 60 dB
    band_limit: float = 0.0  # part of the utterances that lose their high frequencies
    cutoff_hz: tuple[float, float] = (2_500.0, 7_000.0)
    noise: float = 0.0  # part of the utterances that get noise
    snr_db: tuple[float, float] = (5.0, 30.0)  # how much louder the speech is than the noise
    silence: float = 0.0  # part of the utterances that get silence or room tone before, inside or after
    silence_s: tuple[float, float] = (0.3, 30.0)  # of it, drawn so that each doubling is as likely as any other
    frequency_masks: int = 2
    frequency_width: int = 20
    time_masks: int = 5
    time_width: int = 30
    time_fraction: float = 0.08  # one time mask hides at most this much of the utterance


@cache
def _tape(speed: float) -> torchaudio.transforms.Resample:
    """Plays `speed` times as fast; speeds are in tenths. Its filter is made once."""
    return torchaudio.transforms.Resample(round(10 * speed), 10)


class Silence(NamedTuple):
    """Seconds of it in the three places where it may be."""

    before_s: float = 0.0
    inside_s: float = 0.0
    after_s: float = 0.0


def draw_silence(config: AugmentConfig) -> Silence:
    """What an utterance gets. Drawn by itself, since batches are made of utterances that are long together. Draws from
    torch's random generator."""
    if not _drawn(config.silence):
        return Silence()
    shortest, longest = config.silence_s
    total_s = shortest * (longest / shortest) ** _between(0.0, 1.0)
    place = int(torch.randint(4, ()))
    if place == 3:  # on both sides
        before_s = _between(0.0, total_s)
        return Silence(before_s=before_s, after_s=total_s - before_s)
    return Silence(*(total_s if place == each else 0.0 for each in range(3)))


def augment_waveform(waveform: Tensor, config: AugmentConfig, sample_rate: int, silence: Silence) -> Tensor:
    """(S,) -> (S / speed + silence,). Draws from torch's random generator."""
    speed = config.speeds[int(torch.randint(len(config.speeds), ()))]
    if speed != 1.0:
        waveform = _tape(speed)(waveform)
    if _drawn(config.reverberation):
        waveform = reverberate(waveform, _between(*config.rt60_s), sample_rate)
    if _drawn(config.band_limit):
        waveform = limit_band(waveform, _between(*config.cutoff_hz), sample_rate)
    if _drawn(config.noise):
        waveform = add_noise(waveform, _between(*config.snr_db), exponent=_between(0.0, 2.0))
    if any(silence):
        waveform = insert_silence(waveform, silence, sample_rate)
    gain_db = _between(*config.quiet_db) if _drawn(config.quiet) else _between(-config.gain_db, config.gain_db / 2)
    return waveform * 10 ** (gain_db / 20)


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


def insert_silence(waveform: Tensor, silence: Silence, sample_rate: int) -> Tensor:
    """(S,) -> (S + silence,): digital silence, noise at -100 to -55 dB of full scale, or the recording's own room tone.
    Draws from torch's random generator."""
    kind = int(torch.randint(3, ()))

    def quiet(samples: int) -> Tensor:
        if kind == 0:
            return torch.zeros(samples)
        if kind == 1:
            return torch.randn(samples) * 10 ** (_between(-100.0, -55.0) / 20)
        return room_tone(quiet_stretch(waveform, sample_rate), samples)

    return insert(waveform, silence, sample_rate, quiet)


def insert(waveform: Tensor, silence: Silence, sample_rate: int, quiet: Callable[[int], Tensor]) -> Tensor:
    """(S,) -> (S + silence,), so many samples of which `quiet` makes at a time. What is inside comes where the recording is
    quietest, a fifth of it from either end."""
    margin = len(waveform) // 5
    cut = margin + quietest(waveform[margin : len(waveform) - margin], round(0.05 * sample_rate))
    inside, before, after = (
        quiet(round(seconds * sample_rate)) for seconds in (silence.inside_s, silence.before_s, silence.after_s)
    )
    return torch.cat([before, waveform[:cut], inside, waveform[cut:], after])


def quiet_stretch(waveform: Tensor, sample_rate: int) -> Tensor:
    """The quarter of a second of (S,) with the least energy; all of a shorter recording."""
    samples = min(round(0.25 * sample_rate), len(waveform))
    start = quietest(waveform, samples)
    return waveform[start : start + samples]


def quietest(waveform: Tensor, samples: int) -> int:
    """Where in (S,) the stretch of so many samples begins that has the least energy; 0 where they are no fewer than S."""
    if len(waveform) <= samples:
        return 0
    energy = torch.cat([torch.zeros(1, dtype=torch.float64), waveform.double().square().cumsum(0)])
    return int((energy[samples:] - energy[:-samples]).argmin())


def room_tone(stretch: Tensor, samples: int) -> Tensor:
    """(S,) of a room without speech -> (samples,): to and fro, or, half of the time, as noise of its spectrum and loudness.
    Draws from torch's random generator."""
    if float(torch.rand(())) < 0.5:
        return torch.cat([stretch, stretch.flip(0)]).repeat(samples // (2 * len(stretch)) + 1)[:samples]
    size = _fft_size(samples + len(stretch))
    noise = torch.fft.irfft(torch.fft.rfft(torch.randn(size)) * torch.fft.rfft(stretch, size), size)[:samples]
    loudness = stretch.square().mean().sqrt() / noise.square().mean().sqrt().clamp(min=1e-12)
    return noise * loudness


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
