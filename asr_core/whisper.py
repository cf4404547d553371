"""Whisper's encoder (Radford et al. 2022, arXiv 2212.04356), for a training to start from: the names that its weights have
in two kinds of files, mapped onto those of WhisperCTC.

hf:ORG/NAME, hf:FOLDER   as transformers saves it: config.json and model.safetensors
ct2:FOLDER               as faster-whisper has it: CTranslate2's model.bin
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from asr_core import ctranslate2, hub
from asr_core.checkpoint import CheckpointError
from asr_core.ctranslate2 import CTranslate2Error
from asr_core.features import WHISPER, FeatureConfig
from asr_core.files import readable
from asr_core.models import Encoder, WhisperCTC
from asr_core.quantisation import FLOATS
from asr_core.settings import require_whole

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_CONFIG = 1_000_000  # bytes
LARGEST_HEADER = 1_000_000  # bytes of a weights file that are no weights: 100 for each tensor
LARGEST_WEIGHTS = 1_200_000_000  # bytes: small, with its decoder, has 970 million in float32
# A module of a block of ours: those of a layer in transformers that lie in it, one below the other; that in CTranslate2.
LAYER = {
    "attention_norm": (("self_attn_layer_norm",), "self_attention/layer_norm"),
    "query_key_value": (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "self_attention/linear_0"),
    "output": (("self_attn.out_proj",), "self_attention/linear_1"),
    "norm": (("final_layer_norm",), "ffn/layer_norm"),
    "expand": (("fc1",), "ffn/linear_0"),
    "contract": (("fc2",), "ffn/linear_1"),
}
REVISION = 3  # of the names that CTranslate2 has for the parts of a Whisper
KEY_BIAS = "k_proj.bias"  # is in no file: it would add the same to all scores of a query, and the softmax takes it out


@dataclass(frozen=True)
class Size:
    """Of an encoder. Raises ValueError for what none has."""

    mels: int
    width: int
    heads: int
    blocks: int

    def __post_init__(self) -> None:
        require_whole(self, "mels", "width", "heads", "blocks", most=16_384)

    def __str__(self) -> str:
        return f"{self.blocks} blocks of {self.width} with {self.heads} heads"


# Of the Whispers that have a preset of their name.
SIZES = {"tiny": Size(80, 384, 6, 4), "base": Size(80, 512, 8, 6), "small": Size(80, 768, 12, 12)}


class Whisper(Protocol):
    """A stored one. Everything raises CheckpointError; only `weights` reads more than sizes and names."""

    size: Size

    def names(self, ours: str) -> tuple[str, ...]:
        """Those of what lies one below the other in a parameter of WhisperCTC."""

    def shape(self, name: str) -> tuple[int, ...] | None:
        """None where nothing has this name."""

    def weights(self, name: str) -> Tensor:
        """In float32."""


def is_named(source: str) -> bool:
    """Whether it begins as the name of a Whisper does."""
    prefix, colon, _ = source.partition(":")
    return bool(colon) and prefix in KINDS


def load(encoder: Encoder, features: FeatureConfig, source: str) -> None:
    """Give the encoder's pretrained modules the weights of a Whisper of the same size; the others stay as they are.

    Sizes are compared before weights are fetched or read. features: what the encoder is going to hear, which must be what
    Whisper hears. Raises CheckpointError, and then the encoder is as it was.
    """
    whisper = _open(source)
    _require_fit(source, whisper.size, encoder)
    if features != WHISPER:
        raise CheckpointError(f"{source} hears with Whisper's features, and this training with others. Set them to WHISPER.")
    tensors = {
        name: _assembled(source, whisper, name, tuple(parameter.shape))
        for name, parameter in encoder.named_parameters()
        if name.split(".")[0] in encoder.pretrained
    }
    encoder.load_state_dict(tensors, strict=False)


def refuse(source: str) -> None:
    """Raises CheckpointError for a Whisper where a model with a CTC head is wanted, before its weights are fetched."""
    prefix, _, name = source.partition(":")
    if not is_named(source) or (prefix == "hf" and not _says_whisper(name)):
        return
    preset = _preset(_open(source).size)
    start = source if preset else "hf:openai/whisper-base.en"
    raise CheckpointError(
        f"{source} is a Whisper: it has no CTC head, so it does not say which letter is in which frame. Train one on its "
        f"encoder: python train.py --preset {preset or 'base'} --init-from {start} --data manifest.tsv"
    )


class HubWhisper:
    """Its size is that of config.json, which is fetched alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        config = _config(_folder(name, CONFIG), name)
        if (kind := config.get("model_type")) != "whisper":
            raise CheckpointError(f"hf:{name} is a {_short(kind)} model; a training starts from a checkpoint or a Whisper.")
        sizes = (config.get(key) for key in ("num_mel_bins", "d_model", "encoder_attention_heads", "encoder_layers"))
        try:
            self.size = Size(*sizes)
        except ValueError as error:
            raise CheckpointError(f"hf:{name}: its {CONFIG} is not that of a Whisper: {error}") from error

    @cached_property
    def file(self) -> safe_open:
        path = _folder(self.name, WEIGHTS) / WEIGHTS
        try:
            readable(path, LARGEST_WEIGHTS)
            with open(path, "rb") as file:
                (header,) = struct.unpack("<Q", file.read(8))
            if header > LARGEST_HEADER:
                raise SafetensorError(f"its header claims {header:,} bytes")
            return safe_open(path, framework="pt")
        except FileNotFoundError as error:
            reason = f"holds no {WEIGHTS}, and pickled weights, which may hold code, are not read"
            raise CheckpointError(f"hf:{self.name} {reason}.") from error
        except OSError as error:
            raise CheckpointError(f"hf:{self.name}: its {WEIGHTS} cannot be read: {error.strerror}.") from error
        except (SafetensorError, struct.error) as error:
            reason = f"is not a safetensors file, or is damaged: {_short(error)}"
            raise CheckpointError(f"hf:{self.name}: its {WEIGHTS} {reason}.") from error

    @cached_property
    def stored(self) -> frozenset[str]:
        return frozenset(self.file.keys())

    def names(self, ours: str) -> tuple[str, ...]:
        body = "model.encoder" if "model.encoder.conv1.weight" in self.stored else "encoder"  # as it was saved, or its body
        first, *rest = ours.split(".")
        if first != "blocks":
            return (f"{body}.{ours}",)
        block, module, kind = rest
        return tuple(f"{body}.layers.{block}.{part}.{kind}" for part in LAYER[module][0])

    def shape(self, name: str) -> tuple[int, ...] | None:
        if name not in self.stored:
            return None
        part = self.file.get_slice(name)
        if (kind := part.get_dtype()) not in FLOATS:
            raise CheckpointError(f"hf:{self.name}: {name!r} is {kind}; what is read is {', '.join(FLOATS)}.")
        return tuple(part.get_shape())

    def weights(self, name: str) -> Tensor:
        return self.file.get_tensor(name).float()


class CTranslate2Whisper:
    """Its size is that of the variables in model.bin."""

    def __init__(self, name: str) -> None:
        self.name = name
        if not os.path.isdir(name):
            raise CheckpointError(f"ct2:{name} names no folder. ct2: is followed by that of a faster-whisper model.")
        try:
            self.file = ctranslate2.index(Path(name) / ctranslate2.MODEL)
            found = f"{self.file.kind} of revision {self.file.revision}"
            if self.file.kind != "WhisperSpec" or self.file.revision > REVISION:
                raise CTranslate2Error(f"it holds a {found}; what is read is a WhisperSpec of a revision up to {REVISION}")
            blocks = {found[1] for each in self.file.variables if (found := re.match(r"encoder/layer_(\d+)/", each))}
            width, mels = self._convolution()
            self.size = Size(mels, width, self._heads(), len(blocks))
        except KeyError as error:
            raise CheckpointError(f"ct2:{name} is not a whole Whisper: it has no {error}.") from error
        except ValueError as error:
            raise CheckpointError(f"ct2:{name} cannot be used: {_short(error)}.") from error

    def _convolution(self) -> tuple[int, int]:
        shape = self.file.variables["encoder/conv1/weight"].shape
        if len(shape) != 3:
            raise CTranslate2Error(f"its encoder/conv1/weight has shape {shape}, and (width, mel bins, 3) is expected")
        return shape[:2]

    def _heads(self) -> int:
        heads = self.file.variables["encoder/num_heads"]
        if heads.shape != () or heads.type.is_floating_point:
            raise CTranslate2Error("the number of its encoder's heads is not a whole number")
        return int(self.file.numbers("encoder/num_heads"))

    def names(self, ours: str) -> tuple[str, ...]:
        first, *rest = ours.split(".")
        if first != "blocks":
            return (f"encoder/{first}/{rest[0]}",)
        block, module, kind = rest
        if module.endswith("norm"):
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        return (f"encoder/layer_{block}/{LAYER[module][1]}/{kind}",)

    def shape(self, name: str) -> tuple[int, ...] | None:
        variable = self.file.variables.get(name)
        return variable and variable.shape

    def weights(self, name: str) -> Tensor:
        try:
            return self.file.weights(name)
        except CTranslate2Error as error:
            raise CheckpointError(f"ct2:{self.name} cannot be used: {error}") from error


KINDS: Mapping[str, type[Whisper]] = {"hf": HubWhisper, "ct2": CTranslate2Whisper}


def _open(source: str) -> Whisper:
    prefix, _, name = source.partition(":")
    return KINDS[prefix](name)


def _require_fit(source: str, found: Size, encoder: Encoder) -> None:
    preset = _preset(found)
    if not isinstance(encoder, WhisperCTC):
        raise CheckpointError(
            f"{source} is a Whisper, and this preset trains no such encoder. Choose --preset {preset or 'base'}."
        )
    config = encoder.config
    own = Size(config.n_mels, config.width, config.heads, config.blocks)
    if found == own:
        return
    if found.mels != own.mels:
        raise CheckpointError(
            f"{source} listens to {found.mels} mel bins, as large-v3 does, and the preset's encoder to {own.mels}. Choose a "
            "smaller one, such as hf:openai/whisper-base.en."
        )
    advice = [f"--preset {preset}"] if preset else []
    advice += [f"hf:openai/whisper-{name}.en"] if (name := _preset(own)) else []
    raise CheckpointError(
        f"{source} has {found}, and the preset's encoder {own}. Choose {' or '.join(advice) or 'two of the same size'}."
    )


def _preset(size: Size) -> str | None:
    """That trains an encoder of this size."""
    return next((name for name, each in SIZES.items() if each == size), None)


def _assembled(source: str, whisper: Whisper, ours: str, shape: tuple[int, ...]) -> Tensor:
    """A parameter of WhisperCTC, of which the shape is given, from what is stored of it."""
    names = whisper.names(ours)
    needed = (shape[0] // len(names), *shape[1:])
    parts = []
    for name in names:
        if name.endswith(KEY_BIAS):
            parts.append(torch.zeros(needed))
            continue
        if (found := whisper.shape(name)) != needed:
            there = "is not there" if found is None else f"has shape {found}"
            raise CheckpointError(f"{source} is not a whole Whisper: {name!r} {there}; shape {needed} is needed.")
        parts.append(whisper.weights(name))
        if not parts[-1].isfinite().all():
            raise CheckpointError(f"{source}: {name!r} holds NaN or infinite values. Copy it again.")
    return torch.cat(parts)


def _folder(name: str, file: str) -> Path:
    """That holds the file: one on this machine, or where the Hub's own cache keeps it."""
    if os.path.isdir(name):
        return Path(name)
    try:
        return hub.fetch(name, (file,))
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error


def _says_whisper(name: str) -> bool:
    folder = _folder(name, CONFIG)
    try:
        return _config(folder, name).get("model_type") == "whisper"
    except CheckpointError:  # is for whoever reads such models to tell
        return False


def _config(folder: Path, name: str) -> dict:
    try:
        config = json.loads(readable(folder / CONFIG, LARGEST_CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"hf:{name} holds no {CONFIG}.") from error
    except OSError as error:
        raise CheckpointError(f"hf:{name}: its {CONFIG} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"hf:{name}: its {CONFIG} is not JSON: it is damaged or is something else.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"hf:{name}: its {CONFIG} is not that of a model.")
    return config


def _short(what: object) -> str:
    """In one sentence, without its full stop."""
    text = str(what) if isinstance(what, Exception) else reprlib.repr(what)
    return text[:300].rstrip(".")
