from dataclasses import replace

import pytest
import torch
from synthetic import RATE, tone

from asr_core.augment import AugmentConfig, Silence, augment_waveform, spec_augment

NOTHING = AugmentConfig(
    speeds=(1.0,), gain_db=0.0, frequency_masks=0, frequency_width=0, time_masks=0, time_width=0, time_fraction=0.0
)
ONES = torch.ones(200, 80)  # (T, M): whatever is zero afterwards was masked
SEEDS = range(200)


def masked(config: AugmentConfig, seed: int, features: torch.Tensor = ONES) -> torch.Tensor:
    torch.manual_seed(seed)
    return spec_augment(features, config)


def test_one_frequency_mask_hides_whole_bins_and_never_more_than_its_width():
    config = replace(NOTHING, frequency_masks=1, frequency_width=15)
    widths = []
    for seed in SEEDS:
        hidden = masked(config, seed) == 0
        assert (hidden == hidden[:1]).all()  # the same bins in every frame
        widths.append(int(hidden[0].sum()))
    assert max(widths) <= 15
    assert max(widths) > 10


def test_one_time_mask_hides_whole_frames_and_never_more_than_its_width():
    config = replace(NOTHING, time_masks=1, time_width=25, time_fraction=1.0)
    widths = []
    for seed in SEEDS:
        hidden = masked(config, seed) == 0
        assert (hidden == hidden[:, :1]).all()  # all bins of a frame
        widths.append(int(hidden[:, 0].sum()))
    assert max(widths) <= 25
    assert max(widths) > 18


@pytest.mark.parametrize(("frames", "most"), [(100, 8), (50, 4), (12, 0)])
def test_a_time_mask_hides_at_most_its_fraction_of_the_utterance(frames, most):
    config = replace(NOTHING, time_masks=1, time_width=25, time_fraction=0.08)
    widths = [int((masked(config, seed, torch.ones(frames, 80))[:, 0] == 0).sum()) for seed in SEEDS]
    assert max(widths) <= most
    assert max(widths) >= most - 1


def test_several_masks_hide_at_most_the_sum_of_their_widths():
    for seed in SEEDS:
        config = AugmentConfig()
        hidden = masked(config, seed) == 0
        assert hidden.all(dim=0).sum() <= config.frequency_masks * config.frequency_width
        assert hidden.all(dim=1).sum() <= config.time_masks * min(config.time_width, int(config.time_fraction * 200))


def test_what_is_masked_is_zero_and_the_rest_is_untouched():
    features = torch.randn(200, 80) + 100.0
    for seed in range(20):
        result = masked(AugmentConfig(), seed, features)
        assert ((result == features) | (result == 0)).all()
        assert (result == 0).any()


def test_the_features_given_are_not_changed():
    features = torch.ones(200, 80)
    masked(AugmentConfig(), 1, features)
    assert (features == 1).all()


def test_the_same_seed_masks_and_scales_the_same():
    waveform = torch.randn(1_000)
    for seed in range(5):
        assert torch.equal(masked(AugmentConfig(), seed), masked(AugmentConfig(), seed))
        torch.manual_seed(seed)
        first = augment_waveform(waveform, AugmentConfig(), RATE, Silence())
        torch.manual_seed(seed)
        assert torch.equal(first, augment_waveform(waveform, AugmentConfig(), RATE, Silence()))


def test_other_seeds_mask_otherwise():
    results = {masked(AugmentConfig(), seed).numpy().tobytes() for seed in range(20)}
    assert len(results) == 20


@pytest.mark.parametrize(
    "off",
    [
        {"frequency_masks": 0, "time_masks": 0},
        {"frequency_width": 0, "time_width": 0},
        {"frequency_masks": 0, "time_fraction": 0.0},
    ],
)
def test_zeros_turn_the_masks_off(off):
    for seed in range(20):
        assert torch.equal(masked(replace(AugmentConfig(), **off), seed), ONES)


def test_zero_gain_leaves_the_waveform_as_it_is():
    waveform = torch.randn(1_000)
    assert torch.equal(augment_waveform(waveform, NOTHING, RATE, Silence()), waveform)


def test_every_speed_is_drawn_and_changes_length_and_pitch():
    config = replace(NOTHING, speeds=(0.9, 1.0, 1.1))
    clip = torch.from_numpy(tone(1.0, 440.0))
    heard = {}
    for seed in range(30):
        torch.manual_seed(seed)
        played = augment_waveform(clip, config, RATE, Silence())
        peak = int(torch.fft.rfft(played).abs().argmax()) * RATE / len(played)
        heard[round(len(clip) / len(played), 2)] = peak
    assert sorted(heard) == [0.9, 1.0, 1.1]
    assert all(peak == pytest.approx(440 * speed, rel=0.01) for speed, peak in heard.items())


def test_gain_lies_between_minus_its_decibels_and_half_of_them():
    gains = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        gains.append(
            20 * torch.log10(augment_waveform(torch.ones(1), replace(NOTHING, gain_db=12.0), RATE, Silence())).item()
        )
    assert -12.01 < min(gains) < -11.0
    assert 5.0 < max(gains) < 6.01
