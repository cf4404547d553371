"""Real speech of any length: the examples, again and again."""

from pathlib import Path

import numpy as np
from synthetic import RATE

from asr_core import audio
from asr_core.data.utterances import read_manifest

EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")


def long_speech(minutes: float) -> np.ndarray:
    """(S,) float32: the examples one after another, with pauses of different lengths."""
    clips, draw, pieces = [audio.load(example.path) for example in EXAMPLES], np.random.default_rng(0), []
    while sum(map(len, pieces)) < minutes * 60 * RATE:
        pause = 0.001 * draw.standard_normal(round(RATE * draw.choice([0.2, 0.7, 1.5, 3.0]))).astype(np.float32)
        pieces += [clips[len(pieces) // 2 % len(clips)], pause]
    return np.concatenate(pieces)[: round(minutes * 60 * RATE)]
