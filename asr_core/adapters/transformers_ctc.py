"""hf:ORG/NAME, or hf:FOLDER: any AutoModelForCTC of transformers, with its own tokens and its own hearing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr_core import hub
from asr_core.adapters.samples import SampleModel, adapted
from asr_core.cards import card_of, licence_of
from asr_core.checkpoint import CheckpointError

WEIGHTS = "model*.safetensors"  # in one file or several; what else is safetensors are other languages' adapters
PATTERNS = (WEIGHTS, "*.json", "*.model", "*.txt", "README.md")  # no pickles: they are not even fetched
NOT_INSTALLED = "hf:{} needs the library transformers, which is not installed: pip install transformers"


@dataclass(frozen=True)
class _Run:
    model: nn.Module
    extractor: Any  # samples -> what the model takes, in the library's own normalisation
    sample_rate: int

    def __call__(self, samples: Tensor) -> Tensor:
        """(S,) -> (T', V), before the softmax."""
        inputs = self.extractor(samples.numpy(), sampling_rate=self.sample_rate, return_tensors="pt")
        return self.model(**inputs).logits[0]


def load(name: str) -> SampleModel:
    """Code that comes with a model is never run, and weights are read from safetensors alone. Raises CheckpointError."""
    try:
        import transformers  # here, since it is optional and takes seconds to import
    except ImportError as error:
        raise CheckpointError(NOT_INSTALLED.format(name)) from error
    folder, on_hub = Path(name), not os.path.isdir(name)
    shown, card = folder.resolve().name, card_of(folder)  # strangers need not know where it lies
    if on_hub:
        shown, card = name, f"https://huggingface.co/{name}"
        folder = _fetch(name, ("*.json",))  # what it is, before its weights come
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # of a dozen libraries' kinds
        raise CheckpointError(f"transformers cannot load {name}: {_first_sentence(error)}") from error
    if type(config) not in transformers.MODEL_FOR_CTC_MAPPING:
        raise CheckpointError(f"{name} is a {config.model_type} model, which has no CTC head.")
    if on_hub:
        folder = _fetch(name, PATTERNS)
    if not list(folder.glob(WEIGHTS)):
        raise CheckpointError(f"{name} holds no safetensors, and pickled weights, which may hold code, are not read.")
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        # Phones are read, never made of words: that would need a program beside Python.
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, do_phonemize=False)
        options = {"config": config, "trust_remote_code": False, "use_safetensors": True, "dtype": torch.float32}
        model, story = transformers.AutoModelForCTC.from_pretrained(folder, **options, output_loading_info=True)
    except Exception as error:
        raise CheckpointError(f"transformers cannot load {name}: {_first_sentence(error)}") from error
    _require_head(name, model, story)
    blank = config.pad_token_id
    if blank is None:
        raise CheckpointError(f"{name} does not say which token is the blank: its config.json has no pad_token_id.")
    run = _Run(model.eval(), extractor, int(extractor.sampling_rate))
    try:
        licence, labels = licence_of(folder), _labels(tokenizer, config.vocab_size)
        return adapted(f"hf:{shown}", card, licence, labels, blank, run.sample_rate, run)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{name} cannot hear: {_first_sentence(error)}") from error


def _fetch(name: str, patterns: Sequence[str]) -> Path:
    try:
        return hub.fetch(name, patterns)
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error


def _require_head(name: str, model: nn.Module, story: dict) -> None:
    """A model that was only pre-trained gets a head with random weights from the library, and would write nonsense."""
    body = f"{model.base_model_prefix}."
    if head := sorted(key for key in story["missing_keys"] if not key.startswith(body)):
        raise CheckpointError(
            f"{name} holds no weights for its CTC head ({head[0]}): it was pre-trained, but not trained to transcribe. "
            "Name one that was fine-tuned."
        )


def _labels(tokenizer: Any, vocabulary: int) -> list[str]:
    """V strings. A model may have more outputs than its tokenizer has tokens."""
    labels = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))[:vocabulary]
    separator = getattr(tokenizer, "word_delimiter_token", None)
    labels = [" " if label == separator else label or f"<unnamed {index}>" for index, label in enumerate(labels)]
    return labels + [f"<unused {index}>" for index in range(len(labels), vocabulary)]


def _first_sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
