"""A corpus as it would sound elsewhere: softer, in noise, in a room, over the telephone, with silence in it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torchaudio
from torch import Tensor

from asr_core.augment import Silence, add_noise, insert, limit_band, quiet_stretch, reverberate, room_tone

RT60_S = 0.5  # as of a living room
TELEPHONE_HZ = 8_000
TELEPHONE_BAND_HZ = (300.0, 3_400.0)
MU_LAW_LEVELS = 256  # 8 bits a sample, as in ITU-T G.711


@dataclass(frozen=True)
class Condition:
    """phrase: what becomes of an utterance. change: its (S,) and their rate in Hz -> (S',); it may draw from torch's random
    generator. added_s: by how much it is longer then."""

    phrase: str
    change: Callable[[Tensor, int], Tensor]
    added_s: float = 0.0


def heard_in(name: str, waveform: Tensor, sample_rate: int, utterance_id: str) -> Tensor:
    """(S,) -> (S',) in one of CONDITIONS. What is random in it depends on the utterance's id alone, so that an utterance
    sounds the same in every part of a corpus and to every model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(utterance_id.encode()))
        return CONDITIONS[name].change(waveform, sample_rate)


def _softer(db: float) -> Condition:
    return Condition(f"{db:g} dB softer", lambda waveform, rate: waveform * 10 ** (-db / 20))


def _noisy(snr_db: float) -> Condition:
    return Condition(
        f"in white noise {snr_db:g} dB softer than the speech",
        lambda waveform, rate: add_noise(waveform, snr_db, exponent=0.0),
    )


def _with_zeros(phrase: str, silence: Silence) -> Condition:
    return Condition(phrase, lambda waveform, rate: insert(waveform, silence, rate, torch.zeros), sum(silence))


def _with_room_tone(phrase: str, silence: Silence) -> Condition:
    def change(waveform: Tensor, sample_rate: int) -> Tensor:
        stretch = quiet_stretch(waveform, sample_rate)
        return insert(waveform, silence, sample_rate, lambda samples: room_tone(stretch, samples))

    return Condition(phrase, change, sum(silence))


def _over_the_telephone(waveform: Tensor, sample_rate: int) -> Tensor:
    """(S,) -> (S,)"""
    low_hz, high_hz = TELEPHONE_BAND_HZ
    narrow = torchaudio.functional.resample(waveform, sample_rate, TELEPHONE_HZ)
    narrow = limit_band(narrow, high_hz, TELEPHONE_HZ)
    narrow = narrow - limit_band(narrow, low_hz, TELEPHONE_HZ)
    coded = torchaudio.functional.mu_law_encoding(narrow.clamp(-1, 1), MU_LAW_LEVELS)
    decoded = torchaudio.functional.mu_law_decoding(coded, MU_LAW_LEVELS)
    return torchaudio.functional.resample(decoded, TELEPHONE_HZ, sample_rate)[: len(waveform)]


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "quiet-20": _softer(20),
        "quiet-40": _softer(40),
        "noise-10": _noisy(10),
        "noise-0": _noisy(0),
        "room": Condition(
            f"in a room whose echo falls by 60 dB in {RT60_S:g} s",
            lambda waveform, rate: reverberate(waveform, RT60_S, rate),
        ),
        "telephone": Condition("at 8 kHz, from 300 to 3,400 Hz, in 8 bits of mu-law", _over_the_telephone),
        "silence-10": _with_zeros("10 s of digital silence before it and 10 s after", Silence(10, 0, 10)),
        "zeros-before-20": _with_zeros("20 s of digital silence before it", Silence(before_s=20)),
        "zeros-inside-20": _with_zeros("20 s of digital silence where it is quietest", Silence(inside_s=20)),
        "zeros-after-20": _with_zeros("20 s of digital silence after it", Silence(after_s=20)),
        "room-tone-20": _with_room_tone("20 s of its own room tone before it and 10 s after", Silence(20, 0, 10)),
    }
)
