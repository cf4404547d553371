"""torchaudio:NAME: the CTC models of torchaudio.pipelines, such as WAV2VEC2_ASR_BASE_960H."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import torch
import torchaudio
from torch import Tensor, nn
from torchaudio.pipelines import Wav2Vec2ASRBundle

from asr_core.adapters.download import download
from asr_core.adapters.samples import SampleModel, adapted
from asr_core.checkpoint import CheckpointError

WEIGHTS_URL = "https://download.pytorch.org/torchaudio/models/"
CARD_URL = "https://docs.pytorch.org/audio/stable/generated/torchaudio.pipelines."


@dataclass(frozen=True)
class _Run:
    model: nn.Module

    def __call__(self, samples: Tensor) -> Tensor:
        """(S,) -> (T', V), before the softmax."""
        return self.model(samples[None])[0][0]


def load(name: str) -> SampleModel:
    """A bundle by its name; its weights are fetched to torch's cache and read as weights only. Raises CheckpointError."""
    bundles = names()
    if name not in bundles:
        raise CheckpointError(f"torchaudio has no CTC model {name!r}. It has: {', '.join(bundles)}.")
    bundle = getattr(torchaudio.pipelines, name)
    path = Path(torch.hub.get_dir()) / "checkpoints" / bundle._path  # where torchaudio itself looks for it
    try:
        download(WEIGHTS_URL + bundle._path, path)
        model = bundle.get_model(dl_kwargs={"weights_only": True, "map_location": "cpu"})
    except HTTPError as error:
        raise CheckpointError(
            f"torchaudio:{name} cannot be fetched: {error.url} answers {error.code}. Try later."
        ) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"torchaudio:{name} is not in {path.parent} and could not be fetched: {reason}. Check the network, and run the "
            "same again: what has come of it is kept."
        ) from error
    except (EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged, or holds more than weights. Delete it, and try again.") from error
    labels = list(bundle.get_labels())  # the blank is the first
    rate, run, card = int(bundle.sample_rate), _Run(model), f"{CARD_URL}{name}.html"
    return adapted(f"torchaudio:{name}", card, licence_of(bundle), labels, 0, rate, run)


def licence_of(bundle: Wav2Vec2ASRBundle) -> str:
    """As torchaudio's documentation of it says: "under MIT License and redistributed ..."."""
    found = re.search(r"under (.+?)(?: License)?\s+and\s+redistributed", bundle.__doc__ or "")
    return found[1] if found else ""


def names() -> list[str]:
    """The CTC models that this torchaudio has. A bundle for forced alignment alone, whose words nothing parts, is none."""
    return [name for name, bundle in vars(torchaudio.pipelines).items() if type(bundle) is Wav2Vec2ASRBundle]
