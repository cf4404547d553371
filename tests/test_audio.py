import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
from synthetic import RATE, speech_like, tone

from asr_core import audio
from asr_core.audio import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: M4A and WebM need it")
KINDS = [  # suffix, subtype, rate, channels, tolerance of the amplitude
    *[("wav", "PCM_16", rate, channels, 0.01) for rate in (8_000, 16_000, 22_050, 44_100, 48_000) for channels in (1, 2)],
    ("wav", "PCM_U8", 22_050, 1, 0.02),
    ("wav", "PCM_24", 44_100, 2, 0.01),
    ("wav", "FLOAT", 48_000, 1, 0.01),
    ("wav", "DOUBLE", 8_000, 2, 0.01),
    ("flac", "PCM_16", 44_100, 2, 0.01),
    ("ogg", "VORBIS", 44_100, 2, 0.05),
    ("mp3", "MPEG_LAYER_III", 44_100, 2, 0.05),
]


def assert_is_the_tone(samples: np.ndarray, tolerance: float = 0.01, seconds: float = 1.0, padding_s: float = 1e-3) -> None:
    """One 440 Hz tone of peak 0.5, as 16 kHz mono float32."""
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert len(samples) / RATE == pytest.approx(seconds, abs=padding_s)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(440, abs=1.0)
    middle = samples[RATE // 4 : 3 * RATE // 4]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=tolerance)


@pytest.mark.parametrize(("suffix", "subtype", "rate", "channels", "tolerance"), KINDS)
def test_a_tone_is_the_same_tone_from_every_format(tmp_path, suffix, subtype, rate, channels, tolerance):
    path = tmp_path / f"tone.{suffix}"
    sf.write(path, np.stack([tone(1.0, rate=rate)] * channels, axis=1), rate, subtype=subtype)
    padding_s = 0.06 if suffix == "mp3" else 1e-3  # an MP3 ends on a whole frame
    assert_is_the_tone(audio.load(path), tolerance, padding_s=padding_s)
    assert_is_the_tone(audio.load(path.read_bytes()), tolerance, padding_s=padding_s)


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("webm", "libopus")])
def test_a_tone_is_the_same_tone_through_ffmpeg(tmp_path, suffix, codec):
    sf.write(tmp_path / "tone.wav", tone(1.0, rate=48_000), 48_000)
    path = tmp_path / f"tone.{suffix}"
    made = ["ffmpeg", "-v", "error", "-i", tmp_path / "tone.wav", "-c:a", codec, "-b:a", "128k", path]
    if subprocess.run(made).returncode:
        pytest.skip(f"this ffmpeg has no {codec} encoder")
    assert_is_the_tone(audio.load(path), tolerance=0.05, padding_s=0.06)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("uint8", 127), ("int8", 127), ("int16", 2**15 - 1), ("int32", 2**31 - 1), ("float32", 1), ("float64", 1)],
)
def test_arrays_of_every_type_have_full_scale_one(dtype, scale):
    centre = 128 if dtype == "uint8" else 0
    samples = (tone(1.0, rate=44_100).astype(np.float64) * scale + centre).astype(dtype)
    assert_is_the_tone(audio.load((44_100, samples)), tolerance=0.02)
    assert_is_the_tone(audio.load((44_100, np.stack([samples, samples], axis=1))), tolerance=0.02)


def test_channels_are_averaged():
    both = np.stack([tone(1.0), np.zeros(RATE, np.float32)], axis=1)
    assert np.allclose(audio.load((RATE, both)), 0.5 * tone(1.0), atol=1e-6)


def test_another_sample_rate_can_be_asked_for():
    assert len(audio.load((RATE, tone(1.0)), sample_rate=8_000)) == 8_000


@pytest.mark.parametrize("rate", [11_127, 44_101, 767_999])  # an old Macintosh's, and headers off by one
def test_a_rate_without_a_common_factor_is_read_in_little_memory(rate, little_memory):
    samples = audio.load((rate, tone(1.0, rate=rate)))
    assert_is_the_tone(samples, padding_s=2e-3)


def test_seconds_come_from_the_header(tmp_path):
    sf.write(tmp_path / "clip.flac", tone(1.5, rate=8_000), 8_000)
    assert audio.duration_s(tmp_path / "clip.flac") == 1.5


def without_length(flac: bytes) -> bytes:
    """As FLAC is written to a pipe: the 36 bits that count its samples are 0."""
    assert flac[:4] == b"fLaC"
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


def in_blocks(monkeypatch, source, size: int) -> list[np.ndarray]:
    monkeypatch.setattr(audio, "BLOCK", size)
    return list(audio.blocks(source))


@pytest.mark.parametrize("name", ["clip.mp3", "clip.ogg", "clip.flac", "clip.wav"])
def test_blocks_joined_are_the_file_decoded_at_once(tmp_path, monkeypatch, name):
    sf.write(tmp_path / name, speech_like(5.0), RATE)  # an MP3 decoder that is made to seek clicks at every block
    whole, _ = sf.read(tmp_path / name, dtype="float32")
    pieces = in_blocks(monkeypatch, tmp_path / name, 7_777)
    assert max(map(len, pieces)) == 7_777
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-6


def test_blocks_at_another_rate_joined_are_the_whole_resampled(monkeypatch):
    samples = np.stack([speech_like(3.0), speech_like(3.0, 1)], axis=1)
    whole = audio.load((44_100, samples))
    assert np.allclose(np.concatenate(in_blocks(monkeypatch, (44_100, samples), 5_000)), whole, atol=1e-5)


def test_flac_that_does_not_say_its_length_is_read_to_its_end_or_to_the_longest(tmp_path, monkeypatch):
    sf.write(tmp_path / "clip.flac", speech_like(5.0), RATE)
    known = audio.load(tmp_path / "clip.flac")
    piped = without_length((tmp_path / "clip.flac").read_bytes())
    assert np.array_equal(np.concatenate(in_blocks(monkeypatch, piped, RATE)), known)
    assert (audio.claimed_s(piped), audio.claimed_s(tmp_path / "clip.flac")) == (None, 5.0)
    monkeypatch.setattr(audio, "MAX_DURATION_S", 3.0)
    read = audio.blocks(piped)
    assert [len(next(read)) for _ in range(3)] == [RATE] * 3
    with pytest.raises(AudioError, match="over 0 minutes long, the most that is read"):
        next(read)


def test_what_is_wrong_late_is_said_when_it_is_come_to(monkeypatch):
    samples = tone(3.0)
    samples[40_000] = np.nan
    monkeypatch.setattr(audio, "BLOCK", RATE)
    read = audio.blocks((RATE, samples))
    assert len(next(read)) == len(next(read)) == RATE
    with pytest.raises(AudioError, match="1 samples that are not numbers"):
        next(read)


@needs_ffmpeg
def test_ffmpeg_ends_when_nobody_reads_on(tmp_path, monkeypatch):
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=440:r=8000:d=600", "-c:a", "aac", tmp_path / "long.m4a"]
    subprocess.run(command, check=True)
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(audio.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    read = audio.blocks(tmp_path / "long.m4a")
    next(read)
    assert started[0].poll() is None
    read.close()
    assert started[0].returncode == -9
