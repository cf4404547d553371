"""What a Transcriber needs of a model: a checkpoint of ours has it, and so has any other library's behind an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from asr_core.calibration import Calibration
from asr_core.features import FeatureConfig
from asr_core.language_model import LanguageModel
from asr_core.replay import Replay
from asr_core.text import Alphabet


class Recogniser(Protocol):
    """A CTC model that reads a row after another: samples (S,), or log-mel frames (T, M).

    name: what it is called. card: where its makers, data and licence are told, an address or a file; "" where nobody did.
    licence: under which it is, in its makers' words ("cc-by-4.0"); "" where they name none.
    alphabet: of its outputs. phones: P, how many more outputs it has behind those, for phones.PHONES and their blank, or 0.
    features: the log-mel frames that its results show, and its sample rate.
    takes_samples: whether its rows are samples; else they are those frames. stride: rows in an encoder frame.
    window, context: how many rows of a long recording are kept of one window, and how many it sees to each side of them.
    silence: frames (M,) of which no bin reaches it are silent; None where that cannot be told, as of samples.
    step: samples; sound that begins on one of its multiples has its encoder frames where the whole recording has them.
    least: samples that it must have to give out anything.
    language_model, replay: what came with it, if anything did.
    calibration: by decoder (decoding.DECODERS), how far the scores of its words are to be trusted, where that was measured.
    """

    name: str
    card: str
    licence: str
    alphabet: Alphabet
    phones: int
    features: FeatureConfig
    takes_samples: bool
    stride: int
    window: int
    context: int
    silence: float | None
    step: int
    least: int
    language_model: LanguageModel | None
    replay: Replay | None
    calibration: Mapping[str, Calibration]

    @property
    def frame_s(self) -> float:
        """Seconds in one encoder frame."""

    def encode(self, rows: Tensor) -> Tensor:
        """(S,) or (T, M), in one piece -> (T', V + P), before the softmax or after it; first the tokens, then the phones."""
