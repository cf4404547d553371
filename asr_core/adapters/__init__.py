"""Models by their names: a checkpoint of ours, or with a prefix that of another library."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from asr_core import checkpoint
from asr_core.recogniser import Recogniser

ADAPTERS = {"torchaudio": "torchaudio_bundle", "hf": "transformers_ctc"}  # prefix -> the module here with its `load`


def load(source: str | Path) -> Recogniser:
    """A folder or Hub id of ours, "torchaudio:NAME" for a bundle of torchaudio.pipelines, or "hf:ORG/NAME" (or a folder) for
    any AutoModelForCTC of transformers. What is not here yet is downloaded. Raises checkpoint.CheckpointError."""
    prefix, colon, name = str(source).partition(":")
    if colon and prefix in ADAPTERS:
        return import_module(f"asr_core.adapters.{ADAPTERS[prefix]}").load(name)
    return checkpoint.load(source)
