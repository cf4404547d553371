"""Models by their names: a checkpoint of ours, or with a prefix that of another library."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from asr_core import checkpoint, whisper
from asr_core.checkpoint import Checkpoint, CheckpointError
from asr_core.recogniser import Recogniser

ADAPTERS = {"torchaudio": "torchaudio_bundle", "hf": "transformers_ctc"}  # prefix -> the module here with its `load`


def load(source: str | Path) -> Recogniser:
    """A shipped checkpoint by its name, a folder or Hub id of ours, "torchaudio:NAME" for a bundle of torchaudio.pipelines,
    or "hf:ORG/NAME" (or a folder) for any AutoModelForCTC of transformers. What is not here yet is downloaded. Raises
    checkpoint.CheckpointError."""
    whisper.refuse(str(source))
    prefix, colon, name = str(source).partition(":")
    if colon and prefix in ADAPTERS:
        return import_module(f"asr_core.adapters.{ADAPTERS[prefix]}").load(name)
    return checkpoint.load(source)


def load_own(source: str | Path) -> Checkpoint:
    """A folder or Hub id of ours, for what needs more than log-probabilities. Raises checkpoint.CheckpointError."""
    require_own(source)
    return checkpoint.load(source)


def find_own(source: str | Path) -> Path:
    """Its folder, fetched where it is a Hub id's. Raises checkpoint.CheckpointError."""
    require_own(source)
    return checkpoint.find(source)


def require_own(source: str | Path) -> None:
    """Raises checkpoint.CheckpointError for what is named as another library's model."""
    whisper.refuse(str(source))
    prefix, colon, _ = str(source).partition(":")
    if colon and prefix in ADAPTERS:
        raise CheckpointError(
            f"{source} is a model of another library, and this needs a checkpoint of ours: a folder or Hub id."
        )
