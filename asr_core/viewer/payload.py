"""Transcription -> what the alignment view draws: a small JSON object. Numbers travel as compressed bytes, never as lists.

Every array is base64(zlib(bytes)): posteriors (T', V) uint8, the square root of the probability in 255ths, which keeps
small probabilities apart; mel (T, M) uint8; the argmax path (T',) uint16; spans as columns. No key is called "path":
Gradio takes such an object for a file.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from asr_core.alignment import SCORE, Span
from asr_core.transcription import Transcription

VERSION = 1
MEL_RANGE = (-1.6, 2.4)  # normalised log-mel values shown as darkest and brightest


def payload(transcription: Transcription) -> dict:
    """Everything the view needs but the sound, which the caller adds under "audio" as {"url": ...}."""
    emission = transcription.emission
    low, high = MEL_RANGE
    mel = (transcription.features.numpy() - low) / (high - low)  # (T, M)
    return {
        "version": VERSION,
        "duration_s": transcription.duration_s,
        "text": transcription.text,
        "score": SCORE,
        "frames": len(emission),
        "frame_s": emission.frame_s,
        "labels": list(emission.alphabet.labels),
        "blank": emission.alphabet.blank,
        "posteriors": _pack(_as_bytes(emission.log_probs.exp().sqrt().numpy())),  # (T', V)
        "mel": {
            "frames": mel.shape[0],
            "bins": mel.shape[1],
            "frame_s": transcription.feature_frame_s,
            "values": _pack(_as_bytes(mel)),
        },
        "argmax": _pack(np.array(transcription.path, "<u2")),
        "tokens": _columns(transcription.tokens),
        "words": _columns(transcription.words),
    }


def _columns(spans: Sequence[Span]) -> dict:
    return {
        "labels": [span.label for span in spans],
        "first": _pack(np.array([span.first for span in spans], "<u4")),
        "last": _pack(np.array([span.last for span in spans], "<u4")),
        "start_s": _pack(np.array([span.start_s for span in spans], "<f4")),
        "end_s": _pack(np.array([span.end_s for span in spans], "<f4")),
        "score": _pack(_as_bytes(np.array([span.score for span in spans]))),
    }


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """[0, 1] -> uint8, rounded; what lies outside is clipped."""
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()
