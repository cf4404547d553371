"""Rooms, telephones and noise, by what they are in physics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import RATE, speech_like

from asr_core.augment import AugmentConfig, Silence, add_noise, augment_waveform, limit_band, reverberate


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def speech() -> torch.Tensor:
    return torch.from_numpy(speech_like(2.0))


@pytest.mark.parametrize("rt60_s", [0.1, 0.3, 0.5])
def test_the_echo_of_a_click_falls_by_sixty_decibels_in_its_time(rt60_s):
    click = torch.zeros(RATE)
    click[0] = 1.0
    echo = reverberate(click, rt60_s, RATE)[1:].numpy()
    assert not np.abs(echo[round(1.1 * rt60_s * RATE) :]).max() > 1e-5
    # Schroeder's backward integral: the energy still to come, in decibels, falls along a straight line.
    decay_db = 10 * np.log10(np.cumsum(echo[::-1] ** 2)[::-1] / np.sum(echo**2) + 1e-12)
    at = [int(np.argmax(decay_db < level)) / RATE for level in (-5, -25)]
    assert 3 * (at[1] - at[0]) == pytest.approx(rt60_s, rel=0.15)


def test_a_room_keeps_length_and_loudness_and_the_beginning(speech):
    wet = reverberate(speech, 0.4, RATE)
    assert wet.shape == speech.shape
    assert wet.norm() == pytest.approx(float(speech.norm()), rel=1e-4)
    correlation = torch.fft.irfft(torch.fft.rfft(wet, 2 * len(wet)) * torch.fft.rfft(speech, 2 * len(wet)).conj())
    assert int(correlation.argmax()) == 0, "the direct sound comes first and is the loudest"


@pytest.mark.parametrize("cutoff_hz", [2_500.0, 4_000.0])
def test_a_band_limit_takes_what_lies_above_it_and_leaves_the_rest(cutoff_hz):
    noise = torch.randn(2 * RATE)
    noise *= torch.hann_window(len(noise))  # the filter rings beyond the ends, where nothing is kept
    before, after = torch.fft.rfft(noise).abs(), torch.fft.rfft(limit_band(noise, cutoff_hz, RATE)).abs()
    hz = torch.arange(len(before)) / 2
    assert torch.allclose(after[hz < cutoff_hz], before[hz < cutoff_hz], rtol=1e-2, atol=1e-2)
    assert after[hz > 1.1 * cutoff_hz + 1].max() < 1e-2


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_is_as_much_softer_as_its_decibels_say(speech, snr_db, exponent):
    noise = add_noise(speech, snr_db, exponent) - speech
    assert 20 * torch.log10(speech.norm() / noise.norm()) == pytest.approx(snr_db, abs=0.02)


@pytest.mark.parametrize(("exponent", "db_an_octave"), [(0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_noise_falls_by_its_exponent_in_each_octave(exponent, db_an_octave):
    torch.manual_seed(3)
    power = torch.fft.rfft(add_noise(torch.full((16 * RATE,), 1e-6), -200.0, exponent)).abs() ** 2
    octaves = [power[start : 2 * start].mean().log10() * 10 for start in (2_000, 4_000, 8_000, 16_000, 32_000)]
    falls = [float(b - a) for a, b in zip(octaves, octaves[1:], strict=False)]
    assert np.mean(falls) == pytest.approx(db_an_octave, abs=0.2)


def test_each_part_happens_as_often_as_it_should(speech):
    nothing = AugmentConfig(speeds=(1.0,), gain_db=0.0)
    for part in ("reverberation", "band_limit", "noise"):
        config = replace(nothing, **{part: 0.3})
        changed = sum(
            not torch.equal(augment_waveform(speech[:400], config, RATE, Silence()), speech[:400]) for _ in range(400)
        )
        assert 0.2 < changed / 400 < 0.4


def test_silence_and_a_single_sample_stay_finite():
    loud = replace(AugmentConfig(), reverberation=1.0, band_limit=1.0, noise=1.0)
    for waveform in (torch.zeros(1), torch.ones(1), torch.zeros(300)):
        assert augment_waveform(waveform, loud, RATE, Silence()).isfinite().all()
