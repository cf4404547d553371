"""What a model of any toolkit made of a recording, from arrays or a file -> Emission and Sound. docs/posteriors.md shows how
to write such files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr_core import arrays, audio
from asr_core.audio import MAX_DURATION_S
from asr_core.beam import beam_path
from asr_core.decoding import greedy_path
from asr_core.doctor.kinds import SUM_TOLERANCE, Kind, kind_of
from asr_core.doctor.tensors import EvidenceError, as_tensor
from asr_core.emission import Emission
from asr_core.features import FeatureConfig, LogMel
from asr_core.sound import Sound
from asr_core.text import Alphabet, written
from asr_core.transcription import Transcription

REQUIRED = ("log_probs", "labels", "blank", "frame_duration_s")
OPTIONAL = ("audio", "sample_rate")
MOST_BYTES = 2 * 1024**3  # of all arrays of a file together
LONGEST_FRAME_S = 0.5  # no model hears so seldom; what is longer was meant in milliseconds
TOLERANCE_S, TOLERANCE = 0.2, 0.05  # by which frames and sound may differ: models drop or add a frame or two at the ends
LOGARITHM = "Save log_softmax(logits) over the tokens."


class PosteriorsError(ValueError):
    """Arrays that are no emission; the message says what was got and what was expected."""


@dataclass(frozen=True, eq=False)
class Posteriors:
    """emission, sound: as Transcriber makes them. note: what had to be done to the numbers, as a sentence, or ""."""

    emission: Emission
    sound: Sound
    note: str = ""

    def read(self, decoder: str = "greedy") -> Transcription:
        """By decoding.DECODERS; `beam` is without a language model."""
        path = beam_path(self.emission) if decoder == "beam" else greedy_path(self.emission)
        return Transcription.of_path(path, self.emission, self.sound)


def of_arrays(
    log_probs: object,
    labels: Sequence[str] | np.ndarray | str,
    blank: int,
    frame_duration_s: float,
    audio: object = None,
    sample_rate: int | None = None,
    name: str = "recording",
    longest_s: float = MAX_DURATION_S,
) -> Posteriors:
    """One recording as a model sees it. Raises PosteriorsError, or audio.AudioError for a sound that is none.

    log_probs: (T', V), from torch, numpy or anything that becomes an array; probabilities and logits are told apart from
    log-probabilities, and made such. labels: V strings, the blank's included, as the toolkit has them (text.written).
    blank: which of them. frame_duration_s: seconds from a frame to the next. audio: (S,) or (S, channels), what was heard;
    without it there is nothing to play, and no spectrogram. sample_rate: its, in Hz. longest_s: no more is read.
    """
    values, labels, blank = _values(log_probs), _labels(labels), _single("blank", blank)
    frame_duration_s = _single("frame_duration_s", frame_duration_s)
    _check_shape(values, labels, blank)
    if not 0 < frame_duration_s <= LONGEST_FRAME_S:
        raise PosteriorsError(
            f"frame_duration_s is {frame_duration_s:g}; expected seconds from one frame to the next, 0.02 or 0.04 for most "
            f"models and {LONGEST_FRAME_S:g} at most. A frame of 20 ms is 0.02."
        )
    try:
        alphabet = Alphabet(written(labels, blank), blank)
    except ValueError as error:
        raise PosteriorsError(f"labels cannot be used: {error}") from error
    if (frames_s := len(values) * frame_duration_s) > longest_s:
        raise PosteriorsError(
            f"{len(values):,} frames of {frame_duration_s:g} s are {frames_s / 60:.0f} minutes; {longest_s / 60:.0f} are "
            "the most that is read here. Save a part of them."
        )
    log_probs, note = _normalised(values)
    emission = Emission(log_probs, frame_duration_s, alphabet)
    return Posteriors(emission, _sound(emission, audio, sample_rate, name), note)


def load(path: str | Path, most_bytes: int = MOST_BYTES, longest_s: float = MAX_DURATION_S) -> Posteriors:
    """FILE.npz or FILE.safetensors with the arguments of of_arrays by name. Raises PosteriorsError, or audio.AudioError.

    most_bytes: of all its arrays together, unpacked.

    In safetensors, which has no strings, `labels` is a JSON list in the metadata; `blank`, `frame_duration_s` and
    `sample_rate` may be there too.
    """
    path = Path(path)
    try:
        found, names = arrays.read(path, REQUIRED + OPTIONAL, most_bytes, "Save one recording a file.")
        metadata = arrays.metadata(path)
    except arrays.ArraysError as error:
        raise PosteriorsError(str(error)) from error
    found = {name: text for name, text in metadata.items() if name in REQUIRED + OPTIONAL} | found
    if missing := [name for name in REQUIRED if name not in found]:
        raise PosteriorsError(
            f"{path.name} lacks {', '.join(missing)}; it holds {arrays.listed([*names, *metadata])}. Expected log_probs "
            "(T, V), labels (V,), blank and frame_duration_s, and where there is sound, audio (S,) and sample_rate."
        )
    try:
        return of_arrays(**found, name=path.stem, longest_s=longest_s)
    except PosteriorsError as error:
        raise PosteriorsError(f"{path.name}: {error}") from error


def _labels(labels: object) -> list[str]:
    if isinstance(labels, str):
        try:
            labels = json.loads(labels)
        except (RecursionError, ValueError) as error:
            raise PosteriorsError("labels is one text and no JSON list: json.dumps(labels) makes one.") from error
    if isinstance(labels, np.ndarray):
        labels = labels.reshape(-1).tolist()
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise PosteriorsError("labels holds no strings; expected the text of each token, in the order of the outputs.")
    return list(labels)


def _single(name: str, value: object) -> int | float:
    kind = float if name == "frame_duration_s" else int
    try:
        number = float(value if isinstance(value, str) else np.asarray(value).item())
        if number != kind(number):
            raise ValueError
    except (OverflowError, TypeError, ValueError) as error:
        raise PosteriorsError(
            f"{name} is no single number{' without a fraction' * (kind is int)}; expected one, such as "
            f"{name}={'0.02' if kind is float else '0' if name == 'blank' else '16000'}."
        ) from error
    return kind(number)


def _values(log_probs: object) -> Tensor:
    try:
        values = as_tensor(log_probs, "log_probs")
    except EvidenceError as error:
        raise PosteriorsError(str(error)) from error
    if not values.is_floating_point():
        raise PosteriorsError(f"log_probs is {values.dtype}; expected floating point numbers.")
    return values.to("cpu", torch.float32)


def _check_shape(values: Tensor, labels: Sequence[str], blank: int) -> None:
    shape = tuple(values.shape)
    if values.ndim == 3:
        raise PosteriorsError(f"log_probs has shape {shape}; expected (frames, tokens) of one recording: log_probs[0]?")
    if values.ndim != 2 or not all(shape):
        raise PosteriorsError(f"log_probs has shape {shape}; expected (frames, tokens), and at least one of each.")
    if shape[1] != len(labels):
        if shape[0] == len(labels):
            raise PosteriorsError(
                f"log_probs has shape {shape}, and there are {len(labels)} labels: it lies on its side. Save log_probs.T."
            )
        more = " The blank is a token, too." if shape[1] == len(labels) + 1 else ""
        raise PosteriorsError(f"There are {len(labels)} labels for {shape[1]} tokens; expected one for each.{more}")
    if not 0 <= blank < len(labels):
        raise PosteriorsError(f"blank is {blank}, and the tokens are 0 to {len(labels) - 1}. Say which one is the blank.")


def _normalised(values: Tensor) -> tuple[Tensor, str]:
    """(T', V) of any kind -> log-probabilities, and what was done."""
    if spoilt := int((values.isnan() | (values == torch.inf)).any(1).sum()):
        raise PosteriorsError(f"log_probs holds NaN or +inf in {spoilt} of {len(values)} frames. Look for it in the model.")
    totals = values.logsumexp(1)  # (T',)
    if impossible := int((totals == -torch.inf).sum()):
        raise PosteriorsError(f"In {impossible} of {len(values)} frames no token is possible: all are -inf.")
    kind = kind_of(values[:, None], totals[:, None], torch.ones(len(values), 1, dtype=torch.bool))
    if kind is Kind.OVER_TIME and len(values) > 1:
        raise PosteriorsError(f"log_probs is a softmax over the frames, not over the tokens. {LOGARITHM}")
    if kind is Kind.LOG_PROBABILITIES:
        return values, ""
    if kind is Kind.PROBABILITIES:
        return values.log().log_softmax(1), "These were probabilities; their logarithm was taken."
    if bool((values >= 0).all()) and bool((values <= 1 + SUM_TOLERANCE).all()):
        sums = values.sum(1)
        raise PosteriorsError(
            "log_probs lies between 0 and 1 like probabilities, but the tokens of a frame sum to "
            f"{float(sums.min()):.3g} to {float(sums.max()):.3g} and not to 1. {LOGARITHM}"
        )
    if kind is Kind.LOGITS:
        return values.log_softmax(1), "These were logits; log_softmax was applied."
    return values.log_softmax(1), f"These were {kind.value}; log_softmax was applied."


def _sound(emission: Emission, samples: object, sample_rate: int | None, name: str) -> Sound:
    frames_s = len(emission) * emission.frame_s
    if samples is None:
        return Sound.unheard(frames_s, name)
    if sample_rate is None:
        raise PosteriorsError("audio came without its sample_rate. Say how many samples make a second.")
    try:
        samples = as_tensor(samples, "audio").cpu().numpy()
    except EvidenceError as error:
        raise PosteriorsError(str(error)) from error
    config = FeatureConfig()
    rate = _single("sample_rate", sample_rate)
    sound_s = samples.shape[0] / rate if samples.ndim and rate > 0 else 0.0  # where it is none, audio.load says so
    if sound_s and abs(frames_s - sound_s) > max(TOLERANCE_S, TOLERANCE * sound_s):
        raise PosteriorsError(
            f"{len(emission)} frames of {emission.frame_s:g} s are {frames_s:.2f} s, but the audio lasts {sound_s:.2f} s. "
            f"Check frame_duration_s (the audio says {sound_s / len(emission):.4f}), sample_rate, and whether frames of "
            "padding were saved."
        )
    heard = audio.load((rate, samples), config.sample_rate)  # (S,)
    features = LogMel(config)(torch.from_numpy(heard)).numpy()  # (T, M)
    return Sound(heard, config.sample_rate, features, config.frame_s, name)
