"""Silence, room tone and quiet speech in training: where they come, how long and how loud they are."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from synthetic import RATE, speech_like

from asr_core.augment import AugmentConfig, Silence, augment_waveform, draw_silence, insert_silence, quietest, room_tone

ALWAYS = AugmentConfig(silence=1.0)
CLIP = torch.from_numpy(speech_like(4.0))


def drawn(config: AugmentConfig, count: int) -> list[Silence]:
    torch.manual_seed(0)
    return [draw_silence(config) for _ in range(count)]


def level_db(waveform: torch.Tensor) -> float:
    return 10 * math.log10(float(waveform.double().square().mean()) + 1e-30)


def test_each_place_is_drawn_a_quarter_of_the_time_and_each_doubling_as_often():
    silences = drawn(ALWAYS, 4_000)
    assert all(0.3 <= sum(each) <= 30.0 + 1e-6 for each in silences)
    places = Counter(tuple(seconds > 0 for seconds in each) for each in silences)
    expected = {(True, False, False), (False, True, False), (False, False, True), (True, False, True)}
    assert set(places) == expected and all(count == pytest.approx(1_000, abs=150) for count in places.values())
    below = sum(sum(each) < 3.0 for each in silences)  # 3 s is halfway from 0.3 to 30 in doublings
    assert below == pytest.approx(2_000, abs=150)


def test_only_a_part_of_the_utterances_gets_any():
    assert sum(any(each) for each in drawn(replace(ALWAYS, silence=0.15), 2_000)) == pytest.approx(300, abs=60)
    assert not any(map(any, drawn(AugmentConfig(), 50)))


def test_the_speech_is_all_there_around_the_silence():
    for seed in range(12):
        torch.manual_seed(seed)
        silence = Silence(0.5, 0.25, 1.0)
        got = insert_silence(CLIP, silence, RATE)
        assert len(got) == len(CLIP) + round(1.75 * RATE)
        inner = got[round(0.5 * RATE) : -RATE]
        cut = next(n for n in range(len(CLIP)) if not torch.equal(inner[n], CLIP[n]))
        assert torch.equal(inner[cut + round(0.25 * RATE) :], CLIP[cut:]), "speech goes on where it was cut"
        assert len(CLIP) // 5 <= cut <= len(CLIP) * 4 // 5


def test_a_cut_lies_where_the_recording_is_quietest():
    clip = torch.ones(RATE)
    clip[9_000:9_800] = 0.01
    torch.manual_seed(3)
    got = insert_silence(clip, Silence(inside_s=0.1), RATE)
    assert torch.equal(got[:9_000], clip[:9_000]) and torch.equal(got[-6_200:], clip[-6_200:])


@pytest.mark.parametrize("samples", [1, 10, 400])
def test_the_quietest_stretch_is_the_one_with_the_least_energy(samples):
    waveform = torch.randn(500, generator=torch.Generator().manual_seed(samples))
    energies = [float(waveform[start : start + samples].square().sum()) for start in range(500 - samples + 1)]
    assert quietest(waveform, samples) == min(range(len(energies)), key=energies.__getitem__)
    assert quietest(waveform, 600) == 0


def test_room_tone_is_as_loud_as_the_room_and_has_its_spectrum():
    torch.manual_seed(0)
    room = torch.sin(torch.arange(4_000) * 2 * math.pi * 500 / RATE) * 0.01 + 0.001 * torch.randn(4_000)
    for seed in range(6):
        torch.manual_seed(seed)
        tone = room_tone(room, 5 * RATE)
        assert len(tone) == 5 * RATE and level_db(tone) == pytest.approx(level_db(room), abs=0.5)
        peak_hz = float(torch.fft.rfft(tone).abs().argmax()) / 5
        assert peak_hz == pytest.approx(500, abs=25)


def test_silence_is_zeros_or_faint_or_the_rooms_own():
    levels = []
    for seed in range(60):
        torch.manual_seed(seed)
        levels.append(level_db(insert_silence(CLIP, Silence(before_s=1.0), RATE)[:RATE]))
    zeros = sum(level < -200 for level in levels)
    faint = sum(-101 < level < -54 for level in levels)
    room = sum(abs(level - level_db(CLIP[(at := quietest(CLIP, 4_000)) : at + 4_000])) < 1 for level in levels)
    assert zeros + faint + room == 60 and min(zeros, faint, room) > 8


def test_quiet_speech_is_12_to_40_db_quieter():
    levels = []
    for seed in range(200):
        torch.manual_seed(seed)
        levels.append(level_db(augment_waveform(torch.ones(9), AugmentConfig(speeds=(1.0,), quiet=1.0), RATE, Silence())))
    assert -40 <= min(levels) < -38 and -14 < max(levels) <= -12
