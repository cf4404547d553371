"""A checkpoint folder to the Hugging Face Hub: weights, configuration, and a card that says what was measured."""

from __future__ import annotations

from pathlib import Path

from asr_core import checkpoint, hub, origin, shipped
from asr_core.cards import CARD
from asr_core.checkpoint import Checkpoint
from asr_core.transaction import locate

FILES = (*checkpoint.FILES, "model.onnx")


class SharingError(ValueError):
    """A checkpoint that could not be shared; the message says why."""


def push(source: str | Path, name: str) -> str:
    """The files of a checkpoint of ours as one commit to the Hub id `name`, which is made if it is not there -> its address.

    source: a folder, or a shipped checkpoint by its name. The language model is sent, too, where it lies beside the folder.
    A folder without a card gets one from its figures. Raises SharingError, and checkpoint.CheckpointError for a folder that
    could not be loaded from there.
    """
    folder = shipped.folder_of(source)
    if not folder.is_dir():
        raise SharingError(f"There is no checkpoint folder {folder}.")
    if not hub.SHAPE.fullmatch(name):
        raise SharingError(f"{name} is no Hub id. Expected ORG/NAME.")
    model = checkpoint.load(folder)  # what cannot be used is not shared
    from httpx2 import TransportError  # here, because only this needs the network
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    sources: dict[str, Path | bytes] = {file: path for file in FILES if (path := locate(folder, file)).exists()}
    sources = origin.notices(model.training) | sources
    if model.language_model:
        sources.setdefault(checkpoint.LANGUAGE_MODEL, model.language_model.to_bytes())
    sources.setdefault(CARD, card(model, name).encode())
    additions = [CommitOperationAdd(file, source) for file, source in sources.items()]
    api = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        api.create_commit(name, additions, commit_message=f"{model.name}, from CTC Lens")
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (None, 401, 403):
            raise SharingError(
                f"The Hub does not let you write to {name}. Log in with `hf auth login`, as who may."
            ) from error
        raise SharingError(f"The Hub answers {status} to what was sent for {name}. Try later.") from error
    except (TransportError, OSError) as error:
        raise SharingError(f"The Hub cannot be reached: {error}. Check the network.") from error
    return f"{api.endpoint}/{name}"


def card(model: Checkpoint, name: str) -> str:
    """What a checkpoint tells of itself, as a model card."""
    rows = [
        f"| {split} | {_percent(figures, 'wer')} | {_percent(figures, 'cer')} |"
        for split, figures in model.metrics.items()
        if isinstance(figures, dict)
    ]
    hours = model.training.get("hours")
    trained = f"trained on {hours:.1f} hours of speech" if isinstance(hours, int | float) else "trained with CTC Lens"
    if began := origin.told_by(model.training):
        trained += f", from the weights of `{began}` on"
    return f"""---
library_name: pytorch
pipeline_tag: automatic-speech-recognition
---

# {name.partition("/")[2]}

A CTC model with {model.encoder.parameter_count:,} parameters and {len(model.alphabet)} tokens, {trained}.

| measured on | WER | CER |
|---|---|---|
{chr(10).join(rows) or "| nothing yet | | |"}

    python -m asr_core transcribe RECORDING --checkpoint {name}
"""


def _percent(figures: dict, name: str) -> str:
    value = figures.get(name)
    return f"{value:.1%}" if isinstance(value, int | float) else ""
