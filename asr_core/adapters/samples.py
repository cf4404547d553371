"""A model of another library as a Recogniser: samples in, scores of every token in every frame out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from asr_core.calibration import Calibration
from asr_core.checkpoint import CheckpointError
from asr_core.features import FeatureConfig
from asr_core.text import Alphabet, written

WINDOW_S, CONTEXT_S = 20.0, 5.0  # such models were trained on some 20 s; attention over more costs its square in memory
LEAST_S = 0.1  # of sound that a model is given
SHORT_S, LONG_S = 0.4, 2.4  # of noise by which frames are counted


@dataclass(frozen=True)
class SampleModel:
    """run: (S,) float32 -> (T', V), before the softmax or after it. stride: samples in a frame. The rest as in Recogniser.

    Whatever a library normalises over an utterance is normalised over each window of a long one.
    """

    name: str
    card: str
    licence: str
    alphabet: Alphabet
    features: FeatureConfig
    stride: int
    run: Callable[[Tensor], Tensor]
    phones: ClassVar[int] = 0
    takes_samples: ClassVar[bool] = True
    silence: ClassVar[None] = None
    language_model: ClassVar[None] = None
    replay: ClassVar[None] = None
    calibration: ClassVar[Mapping[str, Calibration]] = MappingProxyType({})

    @property
    def frame_s(self) -> float:
        return self.stride / self.features.sample_rate

    @property
    def window(self) -> int:
        return round(WINDOW_S / self.frame_s) * self.stride

    @property
    def context(self) -> int:
        return round(CONTEXT_S / self.frame_s) * self.stride

    @property
    def step(self) -> int:
        return self.stride

    @property
    def least(self) -> int:
        return round(LEAST_S * self.features.sample_rate)

    def encode(self, samples: Tensor) -> Tensor:
        return self.run(samples)


def adapted(
    name: str,
    card: str,
    licence: str,
    labels: list[str],
    blank: int,
    sample_rate: int,
    run: Callable[[Tensor], Tensor],
) -> SampleModel:
    """labels: V strings, as the library has them (text.written). How long a frame lasts is asked of the model itself: by how
    many frames more it makes of two seconds more. Raises CheckpointError for a model that does not fit its labels."""
    try:
        alphabet = Alphabet(written(labels, blank), blank)
    except (IndexError, ValueError) as error:
        raise CheckpointError(f"The tokens of {name} cannot be used: {error}") from error
    noise = torch.randn(round(LONG_S * sample_rate), generator=torch.Generator().manual_seed(0)) / 10  # (S,)
    with torch.no_grad():
        long, short = run(noise), run(noise[: round(SHORT_S * sample_rate)])  # (T', V) each
    if long.shape[1] != len(labels):
        raise CheckpointError(f"{name} gives out {long.shape[1]} tokens and names {len(labels)}. The files do not fit.")
    more = len(long) - len(short)
    stride = (LONG_S - SHORT_S) * sample_rate / more if more > 0 else 0.0
    if not stride or abs(stride - round(stride)) > 1e-6:
        raise CheckpointError(f"{name} makes {more} frames of {LONG_S - SHORT_S:g} s: its frames are not all equally long.")
    return SampleModel(name, card, licence, alphabet, FeatureConfig.at(sample_rate), round(stride), run)
