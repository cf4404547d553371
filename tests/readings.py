"""Readings made up for the tests of exports: random ones, ones of a text, and strange alphabets."""

import numpy as np
import torch
from hypothesis import strategies as st

from asr_core.alignment import CONVENTIONS
from asr_core.emission import Emission
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription

RATE = 16_000  # Hz
FRAME_S = 0.04
ALPHABET = Alphabet()
STRANGE = Alphabet(
    ("<pad>", " ", '"', '""', "<b>", "</b>", "&", "&amp;", "-->", "'", "\n", "é", "漢", "a b", "{\\i1}"), blank=0
)


def sound_of(duration_s: float, seed: int = 0) -> Sound:
    """Silence, and random features: no export looks at either, but for the warnings in JSON."""
    draw = np.random.default_rng(seed)
    samples = np.zeros(round(duration_s * RATE), np.float32)
    features = draw.standard_normal((len(samples) // 160 + 1, 80)).astype(np.float32)
    return Sound(samples, RATE, features, 0.01)


def reading(
    runs: list[tuple[int, int]], alphabet: Alphabet = ALPHABET, convention: str = "spike", duration_s: float | None = None
) -> Transcription:
    """A random emission, read along `runs` of (token, frames)."""
    path = tuple(token for token, frames in runs for _ in range(frames))
    draw = np.random.default_rng(len(path))
    log_probs = torch.from_numpy(draw.standard_normal((len(path), len(alphabet))).astype(np.float32)).log_softmax(-1)
    sound = sound_of(len(path) * FRAME_S if duration_s is None else duration_s)
    return Transcription.of_path(path, Emission(log_probs, FRAME_S, alphabet), sound, convention)


def spoken(text: str, frames: int = 2, pause: int = 1) -> Transcription:
    """A letter of `frames` frames and a pause of blanks, one after another. A dot is a blank second."""
    blank = (ALPHABET.blank, pause)
    runs = [
        run
        for letter in text
        for run in (((blank[0], 25),) if letter == "." else ((ALPHABET.encode(letter)[0], frames), blank))
    ]
    return reading(runs)


@st.composite
def readings(draw, alphabet: Alphabet = ALPHABET):
    """Blanks and spaces are as common as they are in speech; a recording may end before its last frame, or after it."""
    letters = [index for index in range(len(alphabet)) if index != alphabet.blank]
    token = st.sampled_from([alphabet.blank, alphabet.labels.index(" ")]) | st.sampled_from(letters)
    runs = draw(st.lists(st.tuples(token, st.sampled_from([1, 1, 1, 2, 3, 20, 200])), min_size=1, max_size=40))
    frames = sum(count for _, count in runs)
    duration_s = frames * FRAME_S * draw(st.sampled_from([1.0, 1.0, 0.5, 1.3])) + draw(
        st.sampled_from([0.0, 0.0123, 0.0004375])
    )
    return reading(runs, alphabet, draw(st.sampled_from(sorted(CONVENTIONS))), duration_s)


both = readings() | readings(STRANGE)
EMPTY = reading([(ALPHABET.blank, 10)])
