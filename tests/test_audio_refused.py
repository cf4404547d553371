"""Every kind of audio that cannot be used, and the sentence that says so. test_audio.py has what can be used."""

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from synthetic import RATE, speech_like, tone

from asr_core import audio
from asr_core.audio import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: M4A and WebM need it")


def text_named_wav(path: Path) -> None:
    path.write_text("This is a letter to my aunt.\n" * 100)


def cut_in_half(path: Path) -> None:
    sf.write(path, speech_like(3.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_rate(rate: int):
    def write(path: Path) -> None:
        sf.write(path, tone(1.0), RATE)
        header = bytearray(path.read_bytes())
        header[24:28] = rate.to_bytes(4, "little")  # the fmt chunk's samples a second
        path.write_bytes(header)

    return write


def five_hours(path: Path) -> None:
    sf.write(path, np.zeros(5 * 3600 * 1_000, np.int16), 1_000)


def holding(samples: np.ndarray, **options):
    return lambda path: sf.write(path, samples, RATE, **options)


BAD_FILES = {
    "empty.wav": (lambda path: path.touch(), "empty"),
    "no_samples.wav": (holding(np.zeros(0, np.float32)), "empty"),
    "silent.wav": (holding(np.zeros(RATE, np.float32)), "silent"),
    "short.wav": (holding(tone(0.05)), "50 ms"),
    "nan.wav": (holding(np.full(RATE, np.nan, np.float32), subtype="FLOAT"), "NaN"),
    "letter.wav": (text_named_wav, "not a WAV"),
    "letter.mp3": (text_named_wav, "can be read"),
    "letter.m4a": (text_named_wav, "ffmpeg"),
    "letter.raw": (lambda path: path.write_bytes(bytes(range(256)) * 200), "can be read"),
    "cut.wav": (cut_in_half, "cut off"),
    "cut.flac": (cut_in_half, "cut off"),
    "folder.wav": (lambda path: path.mkdir(), "folder"),
    "missing.wav": (lambda path: None, "no file"),
    "slow.wav": (with_rate(500), "500 samples"),
    "fast.wav": (with_rate(2_000_000), "2000000 samples"),
    "zero.wav": (with_rate(0), "zero.wav"),
    "long.flac": (five_hours, "300 minutes"),
}


def refusal(source: audio.AudioSource) -> str:
    with pytest.raises(AudioError) as refused:
        audio.load(source)
    assert str(refused.value).endswith(".")
    return str(refused.value)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_a_sentence_that_names_it(tmp_path, name):
    write, telling = BAD_FILES[name]
    write(tmp_path / name)
    message = refusal(tmp_path / name)
    assert name in message and telling in message


def test_no_refusal_is_longer_than_two_sentences(tmp_path):
    long = []
    for name, (write, _) in BAD_FILES.items():
        write(tmp_path / name)
        with contextlib.suppress(TypeError):  # which the test above reports
            message = refusal(tmp_path / name)
            if len(re.findall(r"[.!?](?=\s|$)", message)) > 2:
                long.append(message)
    assert long == []


@pytest.mark.parametrize(
    ("source", "telling"),
    [
        ((RATE, np.zeros((RATE, 0), np.float32)), "shape"),
        ((RATE, np.zeros((10, 10, 10), np.float32)), "shape"),
        ((RATE, np.zeros(0, np.float32)), "empty"),
        ((RATE, np.zeros(RATE, np.int16)), "silent"),
        ((RATE, np.full(RATE, 128, np.uint8)), "silent"),
        ((RATE, tone(0.05)), "50 ms"),
        ((RATE, np.where(np.arange(RATE) == 7, np.inf, tone(1.0))), "1 samples that are not numbers"),
        ((0, tone(1.0)), "0 samples a second"),
        ((1_000_000, tone(1.0)), "1000000 samples a second"),
        ((RATE, tone(1.0) > 0), "bool"),
        (b"", "can be read"),
        (b"This is a letter to my aunt.", "can be read"),
    ],
)
def test_a_bad_recording_is_refused_in_a_sentence(source, telling):
    assert telling in refusal(source)


def test_unsigned_16_bit_samples_are_not_said_to_be_no_integers():
    message = refusal((RATE, np.full(RATE, 40_000, np.uint16)))
    assert "Samples are integers or floats; these are uint16" not in message


def test_a_long_array_is_refused_with_both_lengths(monkeypatch):
    monkeypatch.setattr(audio, "MAX_DURATION_S", 120.0)
    message = refusal((1_000, np.ones(300 * 1_000, np.float32)))
    assert "5 minutes" in message and "at most 2" in message


def test_a_long_file_is_refused_before_it_is_decoded(tmp_path, little_memory):
    path = tmp_path / "long.wav"
    sf.write(path, np.zeros(100, np.float32), 48_000, subtype="PCM_U8")
    header, size = path.read_bytes()[:40], 5 * 3600 * 48_000  # a byte a sample; as float32, more than this test may have
    path.write_bytes(header[:4] + (size + 36).to_bytes(4, "little") + header[8:] + size.to_bytes(4, "little"))
    with path.open("r+b") as file:
        file.truncate(44 + size)  # a hole: takes no room on the disk
    assert "300 minutes" in refusal(path)


def test_speech_may_come_late_but_hours_of_silence_are_not_waited_through(monkeypatch):
    monkeypatch.setattr(audio, "LONGEST_SILENCE_S", 120.0)
    silence = np.zeros(100 * RATE, np.float32)
    late = (RATE, np.concatenate([silence, tone(1.0), silence, silence]))
    assert len(audio.load(late)) == 301 * RATE
    assert "begins with over 2 minutes of silence" in refusal((RATE, np.concatenate([silence, silence, tone(1.0)])))


@needs_ffmpeg
def test_a_playlist_cannot_make_ffmpeg_read_another_file(tmp_path):
    sf.write(tmp_path / "private.wav", tone(1.0), RATE)
    (tmp_path / "list.m4a").write_text("ffconcat version 1.0\nfile private.wav\n")
    assert "list.m4a" in refusal(tmp_path / "list.m4a")


@needs_ffmpeg
def test_a_long_file_through_ffmpeg_is_not_said_to_be_as_long_as_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_DURATION_S", 60.0)
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=440:r=8000:d=180", "-c:a", "aac", tmp_path / "long.m4a"]
    subprocess.run(command, check=True)
    assert "1 minutes long; at most 1 " not in refusal(tmp_path / "long.m4a")


def test_the_folder_of_the_shell_has_a_name_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not refusal(".").startswith(" ")


def test_a_name_longer_than_any_file_has_is_refused():
    assert "aaaa" in refusal("a" * 300 + ".wav")
