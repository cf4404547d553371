"""A folder or a Hub id <-> weights, configuration and alphabet. safetensors and JSON only: nothing is ever unpickled.

NAME/model.safetensors   the encoder's weights, float16, or 8 bits (quantisation)
NAME/config.json         format, alphabet, features, encoder, training, metrics
NAME/language_model.safetensors   what a beam search may heed, where there is one
NAME/replay.safetensors  what it made of three clips while it was trained, where the training was recorded
NAME/README.md           the model card, where somebody wrote one
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from asr_core import hub, language_model, quantisation, replay
from asr_core.features import FeatureConfig, LogMel
from asr_core.files import write_atomically
from asr_core.language_model import LanguageModel
from asr_core.models import Encoder, build_encoder, describe_encoder
from asr_core.replay import Replay, ReplayError
from asr_core.text import Alphabet
from asr_core.windows import ALIGNED, CONTEXT, WINDOW

FORMAT = 1
WEIGHTS, CONFIG, LANGUAGE_MODEL = "model.safetensors", "config.json", "language_model.safetensors"


class CheckpointError(ValueError):
    """A checkpoint that is not there or cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Checkpoint:
    """A model of ours, a recogniser.Recogniser, and everything needed to use it. training and metrics: how it was made and
    what it was measured at."""

    name: str
    encoder: Encoder
    features: FeatureConfig
    alphabet: Alphabet
    training: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    language_model: LanguageModel | None = None
    replay: Replay | None = None
    card: str = ""
    takes_samples: ClassVar[bool] = False
    window: ClassVar[int] = WINDOW
    context: ClassVar[int] = CONTEXT

    @property
    def frame_s(self) -> float:
        """Seconds in one encoder frame."""
        return self.features.frame_s * self.encoder.subsampling

    @property
    def stride(self) -> int:
        return self.encoder.subsampling

    @property
    def step(self) -> int:
        return ALIGNED * self.features.hop_length

    @property
    def least(self) -> int:
        return self.features.n_fft // 2 + 1  # the edges are padded by reflection

    def encode(self, features: Tensor) -> Tensor:
        """(T, M) -> (T', V), before the softmax, in one piece."""
        encoded = self.encoder(features.T[None, None], torch.tensor([len(features)]))
        return encoded.logits[0]

    def log_mel(self) -> LogMel:
        return LogMel(self.features)

    def save(self, folder: Path, compressed: bool = False) -> None:
        """Write weights, language model, replay, then configuration, each atomically. compressed: matrices in 8 bits."""
        tensors = {name: tensor.contiguous() for name, tensor in self.encoder.state_dict().items()}
        if compressed:
            tensors = quantisation.compress(tensors)
        else:
            tensors = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
        write_atomically(folder / WEIGHTS, save_tensors(tensors, metadata={"format": "pt"}))
        if self.language_model:
            self.language_model.save(folder / LANGUAGE_MODEL)
        if self.replay:
            self.replay.save(folder / replay.FILE)
        self.save_config(folder)

    def save_config(self, folder: Path) -> None:
        """Write everything but the weights and the words, atomically."""
        config = {
            "format": FORMAT,
            "alphabet": asdict(self.alphabet),
            "features": asdict(self.features),
            "encoder": describe_encoder(self.encoder),
            "training": self.training,
            "metrics": self.metrics,
        }
        if self.language_model:
            config["language_model"] = {name: getattr(self.language_model, name) for name in ("weight", "word_bonus")}
        write_atomically(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def load(source: str | Path) -> Checkpoint:
    """Read a folder, or fetch a Hub id such as "someone/model". Raises CheckpointError."""
    folder = Path(source)
    name, card = folder.name, str(folder / "README.md")
    if not folder.is_dir():
        folder, card = _fetch(str(source)), f"https://huggingface.co/{source}"
    config = _read_config(folder)
    try:
        alphabet = Alphabet(tuple(config["alphabet"]["labels"]), config["alphabet"]["blank"])
        features = _feature_config(config["features"])
        with torch.device("meta"):  # shapes only: nothing is allocated for what the weights file does not hold
            encoder = build_encoder(config["encoder"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder.name}/{CONFIG} does not describe a CTC Lens model: {_sentence(error)}") from error
    if encoder.config.vocabulary != len(alphabet) or encoder.config.n_mels != features.n_mels:
        raise CheckpointError(
            f"{folder.name}/{CONFIG} contradicts itself: the encoder has {encoder.config.vocabulary} outputs and "
            f"{encoder.config.n_mels} mel bins, the alphabet {len(alphabet)} tokens and the features {features.n_mels} bins."
        )
    _load_weights(encoder, folder)
    made, measured = config.get("training", {}), config.get("metrics", {})
    words, story = _load_words(folder, config), _load_replay(folder)
    return Checkpoint(name, encoder.eval(), features, alphabet, made, measured, words, story, card)


def _fetch(source: str) -> Path:
    if not hub.SHAPE.fullmatch(source):
        raise CheckpointError(f"There is no checkpoint folder {source}. Name a folder with {CONFIG} and {WEIGHTS} in it.")
    try:
        return hub.fetch(source, (WEIGHTS, CONFIG, LANGUAGE_MODEL, replay.FILE, "README.md"))
    except hub.HubError as error:
        raise CheckpointError(f"There is no folder {source} here. {error}") from error


def _read_config(folder: Path) -> dict:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{folder} holds no {CONFIG}, so it is not a checkpoint.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder.name}/{CONFIG} is not JSON: it is damaged or is something else.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise CheckpointError(f"{folder.name}/{CONFIG} has format {found!r}; this version reads format {FORMAT}.")
    return config


def _feature_config(values: dict) -> FeatureConfig:
    known = {field.name for field in fields(FeatureConfig)}
    if unknown := set(values) - known:
        raise ValueError(f"features has no option {sorted(unknown)}. It has: {', '.join(sorted(known))}.")
    return FeatureConfig(**values)


def _load_weights(encoder: Encoder, folder: Path) -> None:
    try:
        tensors = quantisation.expand(load_tensors((folder / WEIGHTS).read_bytes()))
    except OSError as error:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}.") from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder.name}/{WEIGHTS} is not a safetensors file, or is damaged: {_sentence(error)}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be used: {_sentence(error)}") from error
    expected = encoder.state_dict()
    for name in expected.keys() | tensors.keys():
        if name not in tensors or name not in expected:
            where = "the file lacks" if name not in tensors else "the encoder does not know"
            raise CheckpointError(f"{folder.name}/{WEIGHTS} is for another encoder: {where} the tensor {name!r}.")
        if tensors[name].shape != expected[name].shape:
            raise CheckpointError(
                f"{folder.name}/{WEIGHTS}: {name!r} has shape {tuple(tensors[name].shape)}; the encoder in {CONFIG} needs "
                f"{tuple(expected[name].shape)}."
            )
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise CheckpointError(
            f"{folder.name}/{WEIGHTS}: {broken[0]!r} holds NaN or infinite values. Train or copy it again."
        )
    encoder.load_state_dict(tensors, assign=True)


def _load_words(folder: Path, config: dict) -> LanguageModel | None:
    if not (folder / LANGUAGE_MODEL).exists():
        return None
    weights = config.get("language_model", {"weight": 1.0, "word_bonus": 0.0})
    try:
        weights = {name: float(weights[name]) for name in ("weight", "word_bonus")}
        if not all(map(math.isfinite, weights.values())) or weights["weight"] < 0:
            raise ValueError(f"the weights {weights} must be finite, and the first not negative")
        return replace(language_model.load(folder / LANGUAGE_MODEL), **weights)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The language model of {folder.name} cannot be used: {_sentence(error)}") from error


def _load_replay(folder: Path) -> Replay | None:
    try:
        return replay.load(folder / replay.FILE) if (folder / replay.FILE).exists() else None
    except ReplayError as error:
        raise CheckpointError(f"{folder.name}: {error} Delete it, or copy the checkpoint again.") from error


def _sentence(error: Exception) -> str:
    text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return text.rstrip(".") + "."
