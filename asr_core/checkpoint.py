"""A folder or a Hub id <-> weights, configuration and alphabet. safetensors and JSON only: nothing is ever unpickled.

NAME/model.safetensors   the encoder's weights, float16, or 8 bits (quantisation)
NAME/config.json         format, alphabet, features, encoder, training, metrics, what tune found
NAME/language_model.safetensors   what a beam search may heed, where there is one; several folders may share one beside them
NAME/replay.safetensors  what it made of three clips while it was trained, where the training was recorded
NAME/README.md           the model card, where somebody wrote one
NAME/LICENSE.whisper     OpenAI's notice, where the training began with Whisper's weights
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from asr_core import hub, origin, quantisation, replay, shipped, tuned_words
from asr_core.calibration import Calibration
from asr_core.cards import CARD, card_of, licence_of
from asr_core.decoding import DECODERS
from asr_core.features import FeatureConfig, LogMel
from asr_core.files import readable
from asr_core.language_model import LanguageModel
from asr_core.models import Encoder, build_encoder, describe_encoder
from asr_core.replay import Replay, ReplayError
from asr_core.shipped import CheckpointError
from asr_core.text import Alphabet
from asr_core.transaction import locate, write_one, write_together
from asr_core.windows import ALIGNED

FORMAT = 1
WEIGHTS, CONFIG, LANGUAGE_MODEL = "model.safetensors", "config.json", tuned_words.FILE
FILES = (WEIGHTS, CONFIG, LANGUAGE_MODEL, replay.FILE, CARD, origin.NOTICE_FILE)  # all that one may have
LARGEST_CONFIG = 1_000_000  # bytes: the history of a thousand epochs is 150 kB
LARGEST_HEADER = 1_000_000  # bytes of a weights file that are no weights: 100 for each tensor
MOST_PARAMETERS = 120_000_000  # the largest preset has 101 million; more would be no fun on a CPU
LONGEST_SENTENCE = 400  # characters of what is told about a file that may hold anything


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
    licence: str = ""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    takes_samples: ClassVar[bool] = False

    @property
    def frame_s(self) -> float:
        """Seconds in one encoder frame."""
        return self.features.frame_s * self.encoder.subsampling

    @property
    def phones(self) -> int:
        return self.encoder.phones

    @property
    def stride(self) -> int:
        return self.encoder.subsampling

    @property
    def window(self) -> int:
        return self.encoder.window

    @property
    def context(self) -> int:
        return self.encoder.context

    @property
    def silence(self) -> float:
        return self.features.silence

    @property
    def step(self) -> int:
        return ALIGNED * self.features.hop_length

    @property
    def least(self) -> int:
        return self.features.n_fft // 2 + 1  # the edges are padded by reflection

    def encode(self, features: Tensor) -> Tensor:
        """(T, M) -> (T', V + P), before the softmax, in one piece."""
        return self.encoder.encode(features)

    def log_mel(self) -> LogMel:
        return LogMel(self.features)

    def save(self, folder: Path, compressed: bool = False) -> None:
        """Write weights, language model, replay, configuration and notices, all or, after a crash, none. The language model
        is left out where the folder has the same one already, or has none and the same one lies beside it. compressed:
        matrices in 8 bits."""
        files = {WEIGHTS: self.weights(compressed), CONFIG: self.config(), **origin.notices(self.training)}
        if self.language_model:
            files[LANGUAGE_MODEL] = self.language_model.to_bytes()
        if self.replay:
            files[replay.FILE] = self.replay.to_bytes()
        write_files(folder, files)

    def save_config(self, folder: Path) -> None:
        """Write everything but the weights and the words, atomically."""
        write_one(folder / CONFIG, self.config())

    def weights(self, compressed: bool = False) -> bytes:
        """The file model.safetensors: float16, or matrices in 8 bits."""
        tensors = {name: tensor.contiguous() for name, tensor in self.encoder.state_dict().items()}
        if compressed:
            tensors = quantisation.compress(tensors)
        else:
            tensors = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
        return save_tensors(tensors, metadata={"format": "pt"})

    def config(self) -> bytes:
        """The file config.json."""
        config = {
            "format": FORMAT,
            "alphabet": asdict(self.alphabet),
            "features": asdict(self.features),
            "encoder": describe_encoder(self.encoder),
            "training": self.training,
            "metrics": self.metrics,
        }
        if self.language_model:
            config["language_model"] = tuned_words.weights(self.language_model)
        if self.calibration:
            config["calibration"] = {decoder: asdict(each) for decoder, each in self.calibration.items()}
        return (json.dumps(config, indent=2) + "\n").encode()


def load(source: str | Path, untuned: bool = False) -> Checkpoint:
    """Read a shipped checkpoint by its name or a folder, or fetch a Hub id ("someone/model"). Raises CheckpointError.

    A folder that holds no language model uses the one beside it if its configuration has the weights for one, which `tune`
    finds. untuned: also without them, so as to find them. Beside a folder that is a link means beside what it links to.
    """
    folder = find(source)
    config = _read_config(folder)
    try:
        alphabet = Alphabet.of_json(config["alphabet"])
        features = _feature_config(config["features"])
        with torch.device("meta"):  # shapes only: nothing is allocated for what the weights file does not hold
            encoder = build_encoder(config["encoder"])
        made, measured = (_table(config.get(name, {}), name) for name in ("training", "metrics"))
        calibration = _calibration(config.get("calibration", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder.name}/{CONFIG} does not describe a CTC Lens model: {_sentence(error)}") from error
    if encoder.config.vocabulary != len(alphabet) or encoder.config.n_mels != features.n_mels:
        raise CheckpointError(
            f"{folder.name}/{CONFIG} contradicts itself: the encoder has {encoder.config.vocabulary} outputs and "
            f"{encoder.config.n_mels} mel bins, the alphabet {len(alphabet)} tokens and the features {features.n_mels} bins."
        )
    _load_weights(encoder, folder)
    words, story = _load_words(folder, config, alphabet, untuned), _load_replay(folder)
    beside = locate(folder, CARD).parent
    here = shipped.folder_of(source)
    card = card_of(beside) if os.path.isdir(here) else f"https://huggingface.co/{source}"
    licence, name = licence_of(beside), here.name
    return Checkpoint(name, encoder.eval(), features, alphabet, made, measured, words, story, card, licence, calibration)


def read_files(folder: Path, model: Checkpoint) -> dict[str, bytes]:
    """The files of a checkpoint as they are, by their names, and the language model that it shares. model: what was loaded
    from there. Raises OSError."""
    files = {name: path.read_bytes() for name in FILES if (path := locate(folder, name)).is_file()}
    if model.language_model:
        files.setdefault(LANGUAGE_MODEL, model.language_model.to_bytes())
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write a whole checkpoint, all or, after a crash, none of it. A card that is there may be somebody's own, and stays;
    a language model that it would use anyway, in the folder or beside it, is not written again."""
    kept = {CARD} if card_of(folder) else set()
    if "language_model" in json.loads(files[CONFIG]) and files.get(LANGUAGE_MODEL) == tuned_words.found(folder):
        kept.add(LANGUAGE_MODEL)
    write_together(folder, {name: data for name, data in files.items() if name not in kept})


def find(source: str | Path) -> Path:
    """The folder itself, a shipped checkpoint's by its name, or that of a Hub id, which is fetched. Raises
    CheckpointError."""
    folder = shipped.folder_of(source)
    return folder if os.path.isdir(folder) else _fetch(str(source))


def _fetch(source: str) -> Path:
    if not hub.SHAPE.fullmatch(source):
        raise CheckpointError(
            f"There is no checkpoint folder {source}. Name a folder with {CONFIG} and {WEIGHTS} in it, or a shipped "
            f"checkpoint: {', '.join(shipped.names())}."
        )
    try:
        _read_config(hub.fetch(source, (CONFIG,)))  # another kind of model is refused before its weights come
        return hub.fetch(source, FILES)
    except hub.HubError as error:
        raise CheckpointError(f"There is no folder {source} here. {error}") from error


def _read_config(folder: Path) -> dict:
    try:
        text = readable(locate(folder, CONFIG), LARGEST_CONFIG).read_text(encoding="utf-8")
        config = json.loads(text, object_pairs_hook=_named_once)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no {CONFIG}, so it is not a checkpoint.") from error
    except OSError as error:
        raise CheckpointError(f"{folder.name}/{CONFIG} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{folder.name}/{CONFIG} is not JSON: it is damaged or is something else ({_sentence(error)[:-1]})."
        ) from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        of_transformers = isinstance(config, dict) and "model_type" in config
        raise CheckpointError(
            f"{folder.name}/{CONFIG} has format {reprlib.repr(found)}; this version reads format {FORMAT}."
            + " It is of transformers, whose models are named hf:ORG/NAME or hf:FOLDER." * of_transformers
        )
    return config


def _named_once(pairs: list[tuple[str, object]]) -> dict:
    """Readers of JSON differ about a name that comes twice, so nobody could say what such a file means."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("it gives a name two values")
    return values


def _table(value: object, name: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {reprlib.repr(value)}; it must be an object")
    return value


def _feature_config(values: dict) -> FeatureConfig:
    known = {field.name for field in fields(FeatureConfig)}
    if unknown := set(values) - known:
        raise ValueError(f"features has no option {sorted(unknown)}. It has: {', '.join(sorted(known))}.")
    return FeatureConfig(**values)


def _calibration(values: object) -> dict[str, Calibration]:
    """By decoder; empty in what was saved before there was any."""
    if unknown := _table(values, "calibration").keys() - DECODERS.keys():
        raise ValueError(f"calibration has no decoder {sorted(unknown)}. It has: {', '.join(DECODERS)}.")
    return {decoder: Calibration(**_table(each, f"calibration of {decoder}")) for decoder, each in values.items()}


def _load_weights(encoder: Encoder, folder: Path) -> None:
    """Names, shapes and types are compared with the encoder's before a weight is read."""
    count = encoder.parameter_count
    if count > MOST_PARAMETERS:
        raise CheckpointError(
            f"{folder.name}/{CONFIG} describes an encoder of {count:,} parameters; {MOST_PARAMETERS:,} are the most."
        )
    expected = encoder.state_dict()
    try:
        path = readable(locate(folder, WEIGHTS), 4 * count + LARGEST_HEADER)  # 4 bytes: float32
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            types = {name: part.get_dtype() for name, part in stored.items()}
            quantisation.check(types)
            shapes = {name: tuple(stored[name].get_shape()) for name in types.keys() - quantisation.scales(types)}
            _compare(shapes, {name: tuple(tensor.shape) for name, tensor in expected.items()}, folder)
            tensors = quantisation.expand({name: file.get_tensor(name) for name in types})
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}.") from error
    except OSError as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be read: {error.strerror}.") from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder.name}/{WEIGHTS} is not a safetensors file, or is damaged: {_sentence(error)}"
        ) from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{folder.name}/{WEIGHTS} cannot be used: {_sentence(error)}") from error
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise CheckpointError(
            f"{folder.name}/{WEIGHTS}: {broken[0]!r} holds NaN or infinite values. Train or copy it again."
        )
    encoder.load_state_dict(tensors, assign=True)


def _compare(found: dict[str, tuple], expected: dict[str, tuple], folder: Path) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            where = "the file lacks" if name not in found else "the encoder does not know"
            raise CheckpointError(
                f"{folder.name}/{WEIGHTS} is for another encoder: {where} the tensor {reprlib.repr(name)}."
            )
        if found[name] != expected[name]:
            raise CheckpointError(
                f"{folder.name}/{WEIGHTS}: {name!r} has shape {found[name]}; the encoder in {CONFIG} needs {expected[name]}."
            )


def _load_words(folder: Path, config: dict, alphabet: Alphabet, untuned: bool) -> LanguageModel | None:
    try:
        tuned = _table(config["language_model"], "language_model") if "language_model" in config else None
        return tuned_words.load(folder, tuned, alphabet, untuned)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"The language model of {folder.name} cannot be used: {_sentence(error)}") from error


def _load_replay(folder: Path) -> Replay | None:
    try:
        return replay.load(locate(folder, replay.FILE))
    except FileNotFoundError:
        return None
    except ReplayError as error:
        raise CheckpointError(f"{folder.name}: {error} Delete it, or copy the checkpoint again.") from error


def _sentence(error: Exception) -> str:
    text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    if len(text) > LONGEST_SENTENCE:
        text = text[:LONGEST_SENTENCE] + " …"
    return text.rstrip(".") + "."
