import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st
from synthetic import RATE, speech_like

from asr_core.features import FeatureConfig, LogMel, LogMelPieces
from asr_core.training.config import PRESETS

CONFIGS = {name: preset.features for name, preset in PRESETS.items()}


@pytest.fixture(params=sorted(CONFIGS))
def config(request):
    return CONFIGS[request.param]


def test_the_frame_count_formula_is_that_of_the_real_output(config):
    log_mel = LogMel(config)
    counts = [201, 202, *range(1_590, 1_610), *range(15_990, 16_010), 31_999, 48_123]
    real = [len(log_mel(torch.zeros(samples))) for samples in counts]
    assert real == [log_mel.output_lengths(samples) for samples in counts]
    assert real == log_mel.output_lengths(torch.tensor(counts)).tolist()


def test_frame_t_is_centred_on_sample_t_times_hop(config):
    log_mel = LogMel(config)
    for frame in (5, 17, 40):
        waveform = torch.zeros(RATE)
        waveform[frame * config.hop_length] = 1.0
        loudness = log_mel(waveform).sum(-1)  # (T,)
        assert loudness.argmax() == frame
        assert loudness[frame - 1].item() == pytest.approx(loudness[frame + 1].item(), abs=1e-3)


def test_silence_is_the_floor_normalised():
    config = FeatureConfig(floor=1e-5, mean=-3.0, std=2.0)
    features = LogMel(config)(torch.zeros(RATE))
    assert torch.allclose(features, torch.tensor((np.log(1e-5) + 3.0) / 2.0, dtype=torch.float32))


def test_mean_and_std_only_shift_and_scale():
    waveform = torch.from_numpy(speech_like(1.0))
    plain = LogMel(FeatureConfig(mean=0.0, std=1.0))(waveform)
    assert torch.allclose(LogMel(FeatureConfig(mean=-5.0, std=3.0))(waveform), (plain + 5.0) / 3.0, atol=1e-5)


def test_each_waveform_of_a_batch_is_treated_alone():
    log_mel = LogMel(FeatureConfig())
    waveforms = torch.from_numpy(np.stack([speech_like(1.0, seed) for seed in range(3)]))
    batch = log_mel(waveforms)
    assert batch.shape == (3, 101, 80)
    for waveform, features in zip(waveforms, batch, strict=True):
        assert torch.allclose(log_mel(waveform), features, atol=1e-5)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")  # 128 bins over a 400-point FFT, as the preset has it
def test_log_mel_agrees_with_a_short_time_fourier_transform_written_out(config):
    waveform = speech_like(1.5)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_length) / config.win_length)  # periodic Hann
    padded = np.pad(waveform.astype(np.float64), config.n_fft // 2, mode="reflect")
    starts = range(0, len(padded) - config.n_fft + 1, config.hop_length)
    power = np.stack([np.abs(np.fft.rfft(padded[start : start + config.n_fft] * window)) ** 2 for start in starts])
    bank = torchaudio.functional.melscale_fbanks(
        config.n_fft // 2 + 1,
        0.0,
        config.sample_rate / 2,
        config.n_mels,
        config.sample_rate,
        norm="slaney" if config.slaney else None,
        mel_scale="slaney" if config.slaney else "htk",
    )
    expected = (np.log(power @ bank.double().numpy() + config.floor) - config.mean) / config.std
    got = LogMel(config)(torch.from_numpy(waveform))
    assert got.shape == expected.shape
    assert np.abs(got.numpy() - expected).max() < 1e-4


def test_a_frame_lasts_hop_over_rate_seconds():
    assert FeatureConfig().frame_s == 0.01
    assert CONFIGS["deepspeech2"].frame_s == 0.0125


@given(sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=30), name=st.sampled_from(sorted(CONFIGS)))
def test_in_pieces_of_any_size_the_frames_are_those_of_the_whole(sizes, name):
    log_mel = LogMel(CONFIGS[name])
    waveform = speech_like(max(sum(sizes), 1_600) / RATE)
    pieces = LogMelPieces(log_mel)
    made = [pieces.feed(piece) for piece in np.split(waveform, np.cumsum(sizes)[:-1])] + [pieces.finish()]
    assert np.allclose(np.concatenate(made), log_mel(torch.from_numpy(waveform)).numpy(), atol=1e-4)
