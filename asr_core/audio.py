"""File, bytes or array -> float32 mono samples at the model's rate, block by block, so that length costs no memory. Whatever
cannot be heard is refused in a sentence."""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio

from asr_core.spool import Spool

MIN_DURATION_S = 0.1  # a shorter clip holds no syllable
MAX_DURATION_S = 4 * 3600.0
BLOCK = 2**19  # samples read at once, all channels together: 33 s of one at 16 kHz
BLOCK_S = 33.0  # and no more of what has a lower rate, since it becomes many more
UNKNOWN = 2**62  # frames, and more: libsndfile's word for a header that does not tell, as FLAC's when written to a pipe
LOUDEST = 1e6  # full scale is 1; some write the numbers of 16 or 24 bits as floats
LONGEST_SILENCE_S = 1800.0  # at the beginning: hours of silence are small to send and long to read
SILENCE_PEAK = 1e-4  # full scale is 1: -80 dB, below the noise of any microphone
MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
FFMPEG_SUFFIXES = {".m4a", ".mp4", ".aac", ".webm", ".wma", ".mka", ".mkv", ".amr", ".3gp"}
SNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64"}
SUFFIXES = SNDFILE_SUFFIXES | FFMPEG_SUFFIXES  # by which audio is found in a folder
FFMPEG_FORMATS = "mov,mp4,m4a,3gp,aac,matroska,webm,asf,amr"  # containers only: no playlists, no network

AudioSource = str | Path | bytes | tuple[int, np.ndarray | Spool]


class AudioError(ValueError):
    """Audio that cannot be used; the message says what was got and what to do."""


def load(source: AudioSource, sample_rate: int = 16_000) -> np.ndarray:
    """All blocks joined, (S,). Raises AudioError."""
    return np.concatenate(list(blocks(source, sample_rate)))


def blocks(source: AudioSource, sample_rate: int = 16_000) -> Iterator[np.ndarray]:
    """Read, mix down, resample and check.

    source: a path, the bytes of a file, or (rate in Hz, samples (S,) or (S, channels), integer or float).
    Gives out (S,) float32 in about [-1, 1] at `sample_rate`, piece by piece. Raises AudioError: before the first piece where
    the header tells, else when it comes to what cannot be used; that there was too little or only silence, after the last.
    """
    name, length, peak = _name(source), 0, 0.0
    with closing(_decode(source, name)) as decoded:
        for block in _resampled(decoded, sample_rate, name):
            length += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0)))
            if length > MAX_DURATION_S * sample_rate:
                raise AudioError(
                    f"{name} is over {MAX_DURATION_S / 60:.0f} minutes long, the most that is read. Cut it first."
                )
            if length > LONGEST_SILENCE_S * sample_rate and peak < SILENCE_PEAK:
                minutes = LONGEST_SILENCE_S / 60
                raise AudioError(f"{name} begins with over {minutes:.0f} minutes of silence. Cut them off first.")
            if len(block):
                yield block
    _require_speech(length, peak, name, sample_rate)


def _resampled(decoded: Iterator[tuple[int, np.ndarray]], sample_rate: int, name: str) -> Iterator[np.ndarray]:
    """(rate, (S, channels)) piece by piece -> (S',), some of them empty."""
    resampler = None
    for rate, samples in decoded:
        resampler = resampler or Resampler(rate, sample_rate, name)
        yield resampler.feed(_mix_down(samples, name))
    yield resampler.finish()


def mono(samples: np.ndarray, name: str) -> np.ndarray:
    """(S,) or (S, channels), integer or float -> (S,) float32. Raises AudioError."""
    return _mix_down(_as_float(np.asarray(samples)), name)


def duration_s(path: Path) -> float:
    """Seconds of an audio file, from its header alone. Raises AudioError."""
    try:
        info = sf.info(_for_libsndfile(path))
    except (sf.LibsndfileError, RuntimeError, TypeError) as error:
        raise AudioError(f"{path.name} is not audio that can be read ({_reason(error)}).") from error
    return info.frames / info.samplerate


def claimed_s(source: AudioSource) -> float | None:
    """Seconds of any source before it is read, or None where nothing tells, or it cannot be read."""
    if isinstance(source, tuple):
        return len(source[1]) / source[0] if source[0] else None
    try:
        seconds = sf.info(io.BytesIO(source) if isinstance(source, bytes) else _for_libsndfile(Path(source))).duration
    except (sf.LibsndfileError, RuntimeError, TypeError):
        return None
    return seconds if seconds <= MAX_DURATION_S else None


def _name(source: AudioSource) -> str:
    return Path(source).name or str(source) if isinstance(source, str | Path) else "The recording"


def _decode(source: AudioSource, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """-> (rate, (S, channels) float32) piece by piece; only the first may be empty. libsndfile decodes; ffmpeg, where
    installed, what that does not know."""
    if isinstance(source, tuple):
        return _array(*source, name)
    if isinstance(source, bytes):
        return _decode_sndfile(io.BytesIO(source), name)
    path = Path(source)
    try:
        if path.is_dir():
            raise AudioError(f"{name} is a folder, not an audio file. Name the files in it, for example {name}/*.wav.")
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise AudioError(f"There is no file {source}. Check the path.") from error
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}.") from error
    if size == 0:
        raise AudioError(f"{name} is empty (0 bytes). Record or copy it again.")
    return (_decode_ffmpeg if path.suffix.lower() in FFMPEG_SUFFIXES else _decode_sndfile)(path, name)


def _array(rate: int, samples: np.ndarray | Spool, name: str) -> Iterator[tuple[int, np.ndarray]]:
    samples = samples if isinstance(samples, Spool) else np.atleast_1d(samples)
    if len(samples) > MAX_DURATION_S * max(rate, MIN_RATE):
        raise _too_long(name, len(samples) / rate)
    block = _block(rate, 1 if len(samples.shape) == 1 else samples.shape[1])
    for start in range(0, max(1, len(samples)), block):
        yield rate, _as_float(samples[start : start + block])


def _block(rate: int, channels: int) -> int:
    """Samples of each channel that are read at once."""
    return max(1, min(BLOCK // max(1, channels), round(BLOCK_S * rate)))


class _Forward(sf.SoundFile):
    """A file that is read from its beginning to its end. In others soundfile seeks after every piece: MP3 then clicks where
    pieces meet, and FLAC that does not say its length cannot be read."""

    def seekable(self) -> bool:
        return False


def _decode_sndfile(file: Path | io.BytesIO, name: str) -> Iterator[tuple[int, np.ndarray]]:
    try:
        with _Forward(_for_libsndfile(file)) as sound:
            if MAX_DURATION_S * sound.samplerate < sound.frames < UNKNOWN:
                raise _too_long(name, sound.frames / sound.samplerate)
            if cut := re.search(r"data\s*:\s*(\d+) \(should be (\d+)\)", sound.extra_info):
                claimed, there = int(cut[1]), int(cut[2])
                # Programs that write to a pipe leave 0 or the maximum, meaning "to the end of the file".
                if there < claimed < 0x7FFF_FFFF:
                    raise AudioError(
                        f"{name} was cut off: its header promises {claimed} bytes of sound and {there} are there. "
                        "Copy or upload it again."
                    )
            read = partial(sound.read, _block(sound.samplerate, sound.channels), dtype="float32", always_2d=True)
            yield sound.samplerate, read()
            while len(samples := read()):
                yield sound.samplerate, samples
    except (sf.LibsndfileError, RuntimeError, TypeError) as error:  # TypeError: a file ending in .raw has no header
        if isinstance(file, Path) and file.suffix.lower() == ".wav" and not _begins_as_riff(file):
            raise AudioError(f"{name} is not a WAV file, whatever its name says. Upload audio: {_formats()}.") from error
        raise AudioError(
            f"{name} is not audio that can be read ({_reason(error)}): it may be damaged or cut off. Use {_formats()}."
        ) from error


def _begins_as_riff(path: Path) -> bool:
    with path.open("rb") as file:
        return b"RIFF" in file.read(4)


def _for_libsndfile(file: Path | io.BytesIO) -> str | bytes | io.BytesIO:
    """A name may be bytes that are no text; soundfile would refuse to encode it."""
    if isinstance(file, io.BytesIO):
        return file
    return os.fsencode(file) if os.name == "posix" else str(file)


def _decode_ffmpeg(path: Path, name: str) -> Iterator[tuple[int, np.ndarray]]:
    if shutil.which("ffmpeg") is None:
        raise AudioError(f"{name} needs ffmpeg, which is not installed here. Install it, or use {_formats()}.")
    rate = 48_000
    limits = ["-protocol_whitelist", "file", "-format_whitelist", FFMPEG_FORMATS, "-t", str(MAX_DURATION_S + 1)]
    command = ["ffmpeg", "-v", "error", "-nostdin", *limits, "-i", f"file:{path}"]
    command += ["-vn", "-ac", "1", "-ar", str(rate), "-f", "f32le", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as ffmpeg:
        try:
            silent = True
            while piece := ffmpeg.stdout.read(4 * BLOCK):
                silent = False
                yield rate, np.frombuffer(piece, np.float32)[:, None]
            if ffmpeg.wait() or silent:
                raise AudioError(
                    f"{name} is not audio that ffmpeg can read: it may be damaged or cut off. Use {_formats()}."
                )
        finally:
            ffmpeg.kill()  # whoever reads no further wants no more of it


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Integer samples -> [-1, 1]; unsigned 8-bit is centred on 128. (S,) -> (S, 1)."""
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"Samples are signed or 8-bit integers, or floats; these are {samples.dtype}.")
    samples = samples.astype(np.float32, copy=False)
    return samples[:, None] if samples.ndim == 1 else samples


def _mix_down(samples: np.ndarray, name: str) -> np.ndarray:
    """(S, channels) -> (S,)."""
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise AudioError(f"{name} has samples of shape {samples.shape}; expected (samples,) or (samples, channels).")
    if samples.shape[0] == 0:
        raise AudioError(f"{name} is empty: it holds no sound. Record it again.")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise AudioError(f"{name} holds {bad} samples that are not numbers (NaN or infinite). Export it again.")
    if (loudest := np.abs(samples).max()) > LOUDEST:
        raise AudioError(f"{name} holds samples of {loudest:.0e}, where full scale is 1. Export it again.")
    return samples.mean(axis=1)


class Resampler:
    """From one rate to another, at once or in pieces: the pieces joined are the whole resampled. Raises AudioError."""

    FILTER_WIDTH = 6  # zero crossings of torchaudio's filter to each side

    def __init__(self, rate: int, sample_rate: int, name: str = "The stream") -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(
                f"{name} claims {rate} samples a second; sound has {MIN_RATE} to {MAX_RATE}. Its header is damaged."
            )
        self.rate = rate
        # torchaudio's filter grows with the terms of the ratio: at 44,099 Hz it would take gigabytes. The nearest ratio
        # with smaller terms is exact for every usual rate, and off by a millionth for the others: 4 ms in an hour.
        ratio = Fraction(rate, sample_rate).limit_denominator(1000)
        self.old, self.new = ratio.numerator, ratio.denominator
        reach = 1.1 * self.FILTER_WIDTH * max(1.0, self.old / self.new)  # samples of the old rate
        self.margin = math.ceil(reach / self.old) + 1  # in units of `old` samples, which become `new` ones
        self.kept = np.zeros(0, np.float32)  # what is needed again, from unit `first` on
        self.first = self.done = 0  # units

    def whole(self, samples: np.ndarray) -> np.ndarray:
        """(S,) -> (S',)."""
        if self.old == self.new:
            return samples
        return torchaudio.functional.resample(torch.from_numpy(samples), self.old, self.new).numpy()

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """(S,) more -> (S',): as far as what comes next cannot change it."""
        if self.old == self.new:
            return samples
        self.kept = np.concatenate([self.kept, samples])
        ready = self.first + len(self.kept) // self.old - self.margin
        if ready <= self.done:
            return np.zeros(0, np.float32)
        made = self.whole(self.kept)[(self.done - self.first) * self.new : (ready - self.first) * self.new]
        self.done = ready
        self._forget()
        return made

    def finish(self) -> np.ndarray:
        """The rest, as if silence followed."""
        rest = self.whole(self.kept)[(self.done - self.first) * self.new :] if len(self.kept) else self.kept
        self.kept = np.zeros(0, np.float32)
        return rest if self.old != self.new else np.zeros(0, np.float32)

    def _forget(self) -> None:
        start = max(0, self.done - self.margin)
        self.kept = self.kept[(start - self.first) * self.old :]
        self.first = start


def checked(samples: np.ndarray, name: str, sample_rate: int) -> np.ndarray:
    """The samples (S,), if they can hold speech: not too short, not silent. Raises AudioError."""
    _require_speech(len(samples), float(np.abs(samples).max(initial=0)), name, sample_rate)
    return samples


def _require_speech(length: int, peak: float, name: str, sample_rate: int) -> None:
    seconds = length / sample_rate
    if seconds < MIN_DURATION_S:
        raise AudioError(f"{name} is {seconds * 1000:.0f} ms long; speech needs at least {MIN_DURATION_S * 1000:.0f} ms.")
    if peak < SILENCE_PEAK:
        raise AudioError(f"{name} is silent. Check that the microphone is not muted and is the one you meant.")


def _too_long(name: str, seconds: float) -> AudioError:
    return AudioError(
        f"{name} is {seconds / 60:.0f} minutes long; at most {MAX_DURATION_S / 60:.0f} are read. Cut it first."
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", str(error)).strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _formats() -> str:
    return "WAV, FLAC, OGG, Opus, MP3, AIFF or AU" + (", M4A or WebM" if shutil.which("ffmpeg") else "")
