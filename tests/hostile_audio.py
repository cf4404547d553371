"""Over two hundred recordings as nobody should send them: python tests/hostile_audio.py FOLDER writes them all."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 16_000
SEED = 20261122
VERSE = Path(__file__).parent.parent / "examples" / "1272-135031-0008.mp3"


def speech() -> np.ndarray:
    return sf.read(VERSE, dtype="float32")[0]


def encoded(samples: np.ndarray, container: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    claimed: int | None = None,
    fmt: int = 16,
) -> bytes:
    """A WAV file whose header says whatever it is told to. claimed: bytes of data; fmt: of the format chunk."""
    align = min(max(1, channels * bits // 8), 65_535)
    header = struct.pack("<HHIIHH", tag, channels, rate, min(rate * align, 2**32 - 1), align, bits)
    size = len(data) if claimed is None else claimed
    riff = b"WAVEfmt " + struct.pack("<I", fmt) + header + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(len(riff), 2**32 - 1)) + riff


def ima_adpcm(data: bytes, block: int, samples: int) -> bytes:
    """A WAV file of blocks of so many bytes that claim so many samples: libsndfile 1.2.2 multiplies both in 32 bits
    (CVE-2026-37555), though not before it has found that they agree, which they do from 1 GB on."""
    header = struct.pack("<HHIIHHHH", 0x11, 1, RATE, RATE // 2, block, 4, 2, samples)
    riff = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(riff)) + riff


def every_format() -> Iterator[tuple[str, bytes]]:
    """Whatever libsndfile writes: all subtypes of all containers that are taken."""
    samples = speech()[:RATE]
    suffixes = {
        "WAV": "wav",
        "WAVEX": "wav",
        "RF64": "wav",
        "W64": "w64",
        "AIFF": "aiff",
        "AU": "au",
        "CAF": "caf",
        "FLAC": "flac",
    }
    for container, suffix in suffixes.items():
        for subtype in sf.available_subtypes(container):
            if subtype.startswith("NMS_ADPCM"):  # of no rate that speech has
                continue
            try:
                yield f"{container}-{subtype}.{suffix}".lower(), encoded(samples, container, subtype)
            except sf.LibsndfileError:  # what it lists and yet cannot write
                continue
    for subtype, suffix in (("VORBIS", "ogg"), ("OPUS", "opus")):
        yield f"{subtype}.{suffix}".lower(), encoded(samples, "OGG", subtype)
    for rate in (8_000, 22_050, 44_100, 48_000):
        yield f"mp3-{rate}.mp3", encoded(np.repeat(samples, 3), "MP3", rate=rate)
    yield "channels-32.wav", encoded(np.tile(samples[:, None], 32), "WAV")


def strange_headers() -> Iterator[tuple[str, bytes]]:
    data = (speech()[:RATE] * 32_767).astype("<i2").tobytes()
    for rate in (0, 1, 7, 100, 999, 1_001, 44_099, 192_000, 767_999, 768_001, 4_000_000_000, 2**32 - 1):
        yield f"rate-{rate}.wav", wav(data, rate=rate)
    for channels in (0, 3, 32, 255, 1_025, 65_535):
        yield f"channels-claimed-{channels}.wav", wav(data, channels=channels)
    for bits in (0, 1, 7, 12, 33, 64, 65_535):
        yield f"bits-{bits}.wav", wav(data, bits=bits)
    for claimed in (0, 1, 1_000, len(data) + 1, 2 * len(data), 86_400 * RATE * 2, 2**31, 2**32 - 1):
        yield f"claims-{claimed}-bytes.wav", wav(data, claimed=claimed)
    for tag in (0, 0x1234, 0x0055, 0x00FF, 0xFFFE, 0xFFFF):
        yield f"tag-{tag:04x}.wav", wav(data, tag=tag)
    for size in (0, 8, 15, 17, 2**31, 2**32 - 1):
        yield f"format-chunk-{size}.wav", wav(data, fmt=size)
    for block, samples in ((256, 505), (256, 50_000), (5, 65_535), (4, 1), (1, 50_000), (0, 505), (65_535, 0)):
        yield f"ima-adpcm-{samples}-in-{block}.wav", ima_adpcm(data, block, samples)
    whole = wav(data)
    yield "riff-size-0.wav", whole[:4] + bytes(4) + whole[8:]
    yield "rifx.wav", b"RIFX" + whole[4:]
    yield "chunks-forever.wav", whole[:36] + b"junk\0\0\0\0" * 100_000
    day = bytearray(encoded(speech()[:RATE], "FLAC"))
    total = struct.unpack(">Q", day[18:26])[0] & ~((1 << 36) - 1) | (86_400 * RATE)  # the samples of STREAMINFO
    day[18:26] = struct.pack(">Q", total)
    yield "claims-a-day.flac", bytes(day)
    tagged = encoded(speech()[:RATE], "MP3")
    yield "tag-of-5-mb.mp3", b"ID3\x04\0\0" + bytes([0x02, 0x31, 0x2D, 0x00]) + bytes(5_000_000) + tagged
    yield "tag-that-lies.mp3", b"ID3\x04\0\0" + b"\x7f\x7f\x7f\x7f" + tagged


def strange_samples() -> Iterator[tuple[str, bytes]]:
    samples = speech()[:RATE]
    for name, value in (("nan", np.nan), ("infinite", np.inf), ("minus-infinite", -np.inf), ("huge", 3e38)):
        broken = samples.copy()
        broken[1_000] = value
        yield f"{name}.wav", encoded(broken, "WAV", "FLOAT")
    yield "all-nan.wav", encoded(np.full(RATE, np.nan, np.float32), "WAV", "FLOAT")
    yield "double-beyond-float.wav", encoded(np.full(RATE, 1e300), "WAV", "DOUBLE")
    yield "denormal.wav", encoded(np.full(RATE, 1e-42, np.float32), "WAV", "FLOAT")
    yield "dc.wav", encoded(0.5 + samples / 4, "WAV")
    yield "clipped.wav", encoded(np.clip(100 * samples, -1, 1), "WAV")
    yield "silent.wav", encoded(np.zeros(RATE), "WAV")
    for count in (0, 1, 2, 199, 1_599, 1_601):
        yield f"{count}-samples.wav", encoded(samples[:count], "WAV")
        yield f"{count}-samples.flac", encoded(samples[:count], "FLAC")


def damaged() -> Iterator[tuple[str, bytes]]:
    """Cut off, and with flipped bits."""
    draw = np.random.default_rng(SEED)
    samples = speech()
    for container, subtype, suffix in (
        ("FLAC", None, "flac"),
        ("OGG", "VORBIS", "ogg"),
        ("OGG", "OPUS", "opus"),
        ("MP3", None, "mp3"),
        ("WAV", None, "wav"),
        ("AIFF", None, "aiff"),
        ("CAF", None, "caf"),
    ):
        whole = encoded(samples, container, subtype)
        name = (subtype or container).lower()
        for part in (0.0005, 0.01, 0.1, 0.5, 0.999):
            yield f"cut-{name}-{part}.{suffix}", whole[: max(1, int(part * len(whole)))]
        for number in range(6):
            flipped = np.frombuffer(whole, np.uint8).copy()
            reach = 200 if number % 2 else len(flipped)  # of every other one only the beginning
            at = draw.integers(0, min(reach, len(flipped)), 1 + 4 * number)
            flipped[at] ^= (1 << draw.integers(0, 8, len(at))).astype(np.uint8)
            yield f"flipped-{name}-{number}.{suffix}", flipped.tobytes()
        yield f"noise-after-{name}.{suffix}", whole[: len(whole) // 2] + draw.bytes(len(whole) // 2)


class Trap:
    """Unpickled, it writes a file named `unpickled` into the current folder."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("unpickled"),)


def no_audio() -> Iterator[tuple[str, bytes]]:
    passwd = "/etc/passwd"
    texts = {
        "m3u8": f"#EXTM3U\n#EXTINF:10,\nfile://{passwd}\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
        "pls": f"[playlist]\nFile1=file://{passwd}\nNumberOfEntries=1\n",
        "concat": f"ffconcat version 1.0\nfile '{passwd}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        "dash": f"<MPD><Period><AdaptationSet><SegmentTemplate media='{passwd}'/></AdaptationSet></Period></MPD>",
        "html": "<script>alert(1)</script>",
        "svg": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "empty": "",
        "newlines": "\n" * 10_000,
    }
    for kind, text in texts.items():
        for suffix in ("wav", "mp3", "m4a", "webm", "aac"):
            yield f"{kind}.{suffix}", text.encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        into.writestr("a.wav", bytes(10_000_000))
    yield "archive.wav", archive.getvalue()
    yield "pickle.wav", pickle.dumps(Trap())
    yield "headerless.raw", (speech() * 32_767).astype("<i2").tobytes()
    yield "random.opus", np.random.default_rng(SEED).bytes(50_000)


def silence_for_hours() -> Iterator[tuple[str, bytes]]:
    """A few kilobytes that are hours, beyond what is read, and some that do not say so."""
    for minutes, rate in ((2, 8_000), (300, 8_000), (2_400, 1_000)):
        file = io.BytesIO()
        with sf.SoundFile(file, "w", rate, 1, format="FLAC") as into:
            for _ in range(minutes):
                into.write(np.zeros(60 * rate, np.int16))
        silence = bytearray(file.getvalue())
        yield f"silent-for-{minutes}-minutes.flac", bytes(silence)
    silence[18:26] = struct.pack(">Q", struct.unpack(">Q", silence[18:26])[0] & ~((1 << 36) - 1))  # of unknown length
    yield "silent-for-ever.flac", bytes(silence)
    minute = encoded(np.zeros(60 * RATE), "MP3")
    yield "silent-for-6-hours.mp3", minute * 360


NAMES = (
    "'single' \"double\" `back`.mp3",
    "new\nline.mp3",
    "tab\tand\rreturn.mp3",
    "<img src=x onerror=alert(1)>.mp3",
    "${alert(1)}{{7*7}}.mp3",
    "-rf.mp3",
    "--help.mp3",
    "%s%n%00.mp3",
    "$(touch unpickled).mp3",
    "| touch unpickled;.mp3",
    "😀 ünï‮gpj.mp3",
    " leading and trailing .mp3 ",
    ".hidden.mp3",
    "..mp3",
    "a" * 251 + ".mp3",
    "ü" * 125 + "x.mp3",
    b"not \xff\xfe text.mp3".decode("utf-8", "surrogateescape"),
)


def corpus() -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file."""
    for part in (every_format, strange_headers, strange_samples, damaged, no_audio, silence_for_hours):
        yield from part()
    for name in NAMES:
        yield name, VERSE.read_bytes()


def write(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in corpus():
        written.append(folder / name)
        written[-1].write_bytes(content)
    return written


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1])))} files in {sys.argv[1]}")
