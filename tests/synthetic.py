"""What the tests listen to and with: clips that are made, not recorded, and encoders that answer in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from asr_core.checkpoint import Checkpoint
from asr_core.data.utterances import MANIFEST_COLUMNS, Utterance
from asr_core.features import FeatureConfig
from asr_core.models import Encoder, build_encoder
from asr_core.sound import Sound
from asr_core.text import Alphabet

RATE = 16_000  # Hz
MELS = 16
TINY = {
    "attention_unet": {
        "name": "attention_unet", "n_mels": MELS, "channels": 2, "width": 16, "hidden": 24, "heads": 2,
        "inner_blocks": 2, "context": 6, "phone_block": 1,
    },
    "whisper_ctc": {
        "name": "whisper_ctc", "n_mels": MELS, "width": 16, "heads": 2, "blocks": 2, "phone_block": 1, "dropout": 0.2,
    },
    "deepspeech2": {
        "name": "deepspeech2", "n_mels": MELS, "channels": 2, "cnn_blocks": 1, "lstm_layers": 2, "lstm_size": 12,
        "dropout": 0.3,
    },
}  # fmt: skip
LETTER_HZ = {"a": 300.0, "b": 900.0, "c": 2_400.0}  # a toy language: every letter is a tone of its own


def tone(seconds: float, frequency: float = 440.0, rate: int = RATE, peak: float = 0.5) -> np.ndarray:
    """(S,) float32."""
    times = np.arange(round(seconds * rate)) / rate
    return (peak * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """(S,) float32: a gliding voice with formant-like harmonics, four syllables a second, over a little noise."""
    draw = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * (0.3 * times + draw.random()))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(draw.random() / harmonic * np.sin(harmonic * phase) for harmonic in range(1, 20))
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * (4 * times + draw.random()))
    return (0.2 * voice * syllables + 0.005 * draw.standard_normal(len(times))).astype(np.float32)


def spoken(text: str, seed: int = 0) -> np.ndarray:
    """(S,) float32: 0.2 s of each letter's tone and a short rest, over a little noise; a space is silence."""
    rest = np.zeros(RATE // 20, np.float32)
    pieces = [np.zeros(RATE // 5, np.float32) if letter == " " else tone(0.2, LETTER_HZ[letter]) for letter in text]
    clip = np.concatenate([part for piece in pieces for part in (piece, rest)])
    return clip + 0.003 * np.random.default_rng(seed).standard_normal(len(clip)).astype(np.float32)


def loud_sound(seconds: float) -> Sound:
    """A recording of which only the duration matters: ones, with features to match."""
    samples = np.ones(round(seconds * RATE), np.float32)
    return Sound(samples, RATE, np.ones((round(seconds * 100) + 1, MELS), np.float32), 0.01)


def toy_corpus(folder: Path, count: int, seed: int = 0) -> list[Utterance]:
    """Clips of three to six random letters, and their index."""
    draw = np.random.default_rng(seed)
    utterances = []
    for number in range(count):
        text = "".join(draw.choice(list(LETTER_HZ), size=draw.integers(3, 7)))
        clip = spoken(text, number)
        path = folder / f"clip{seed}-{number}.wav"
        sf.write(path, clip, RATE)
        utterances.append(Utterance(path.stem, path, text, len(clip) / RATE, f"speaker{number % 2}"))
    return utterances


def write_manifest(path: Path, rows: list[tuple[Utterance, str]]) -> Path:
    """rows: (utterance, split)."""
    lines = ["\t".join(MANIFEST_COLUMNS)]
    lines += [f"{u.path.name}\t{u.speaker}\t{split}\t{u.duration_s:.3f}\t{u.text}" for u, split in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_encoder(name: str, seed: int = 0) -> Encoder:
    """In eval mode, with seeded random weights."""
    torch.manual_seed(seed)
    return build_encoder(TINY[name]).eval()


def tiny_model(name: str = "attention_unet") -> Checkpoint:
    features, metrics = FeatureConfig(n_mels=MELS), {"validation": {"wer": 1.0}}
    return Checkpoint("tiny", tiny_encoder(name), features, Alphabet(), {"epochs_done": 0}, metrics)
