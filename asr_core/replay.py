"""A training, told by what it made of a few clips: their posteriors after so many steps, from all blanks to letters.

One safetensors file: the clips' samples, and for every snapshot the posteriors of each clip (T', V) as the square root of
the probability in 255ths, which keeps small probabilities apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asr_core.emission import Emission
from asr_core.features import FeatureConfig, LogMel
from asr_core.files import readable, write_atomically
from asr_core.settings import require_number, require_text, require_whole
from asr_core.sound import Sound
from asr_core.text import Alphabet

FILE = "replay.safetensors"
LARGEST = 64 * 1024**2  # bytes: a hundred snapshots of three clips are 3 MB


class ReplayError(ValueError):
    """A file that holds no replay, or not all of one."""


@dataclass(frozen=True)
class Snapshot:
    """A moment of the training. epoch: passes done, with fractions. loss: nats a character, on the clips."""

    step: int
    epoch: float
    loss: float

    def __post_init__(self) -> None:
        require_whole(self, "step", least=0, most=10**12)
        require_number(self, "epoch", least=0, most=1e9)
        if not isinstance(self.loss, float):  # of a training that went wrong it is no number, and worth seeing
            raise ValueError(f"loss is {self.loss!r:.60}; it must be a number.")


@dataclass(frozen=True, eq=False)
class Replay:
    """names, texts, samples: of the clips, samples (S,) int16. posteriors: of each snapshot, of each clip (T', V) uint8.
    earlier: how many of the snapshots are of the trainings before, from whose weights this one began."""

    features: FeatureConfig
    alphabet: Alphabet
    frame_s: float
    names: tuple[str, ...]
    texts: tuple[str, ...]
    samples: tuple[Tensor, ...]
    snapshots: tuple[Snapshot, ...] = ()
    posteriors: tuple[tuple[Tensor, ...], ...] = ()
    earlier: int = 0

    def sound(self, clip: int) -> Sound:
        samples = self.samples[clip].float() / 2**15
        with torch.no_grad():
            features = LogMel(self.features)(samples).numpy()  # (T, M)
        return Sound(samples.numpy(), self.features.sample_rate, features, self.features.frame_s, self.names[clip])

    def emission(self, snapshot: int, clip: int) -> Emission:
        """As it was, to the 255th: probabilities add up to one again."""
        probabilities = (self.posteriors[snapshot][clip].float() / 255) ** 2 + 1e-6
        return Emission((probabilities / probabilities.sum(-1, keepdim=True)).log(), self.frame_s, self.alphabet)

    def with_snapshot(self, snapshot: Snapshot, log_probs: list[Tensor]) -> Replay:
        """log_probs: of each clip, (T', V)."""
        posteriors = tuple((255 * each.exp().sqrt()).round().to(torch.uint8).cpu() for each in log_probs)
        return replace(self, snapshots=(*self.snapshots, snapshot), posteriors=(*self.posteriors, posteriors))

    def save(self, path: Path) -> None:
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        tensors = {f"samples.{clip}": samples for clip, samples in enumerate(self.samples)}
        for number, clips in enumerate(self.posteriors):
            tensors |= {f"posteriors.{number}.{clip}": each.contiguous() for clip, each in enumerate(clips)}
        header = {
            "features": asdict(self.features),
            "alphabet": asdict(self.alphabet),
            "frame_s": self.frame_s,
            "names": self.names,
            "texts": self.texts,
            "snapshots": [asdict(snapshot) for snapshot in self.snapshots],
            "earlier": self.earlier,
        }
        return save(tensors, metadata={"replay": json.dumps(header)})


def load(path: Path) -> Replay:
    """Raises FileNotFoundError, or ReplayError for a file that is none."""
    try:
        with safe_open(readable(path, LARGEST), framework="pt") as file:
            header = json.loads(file.metadata()["replay"])
            names, texts, snapshots = (_listed(header[name]) for name in ("names", "texts", "snapshots"))
            samples = tuple(file.get_tensor(f"samples.{clip}").clone() for clip in range(len(names)))
            posteriors = tuple(
                tuple(file.get_tensor(f"posteriors.{number}.{clip}").clone() for clip in range(len(names)))
                for number in range(len(snapshots))
            )
        replay = Replay(
            FeatureConfig(**header["features"]),
            Alphabet.of_json(header["alphabet"]),
            header["frame_s"],
            names,
            texts,
            samples,
            tuple(Snapshot(**snapshot) for snapshot in snapshots),
            posteriors,
            header.get("earlier", 0),  # once unknown
        )
        require_whole(replay, "earlier", least=0, most=len(snapshots))
        require_number(replay, "frame_s", least=1e-3, most=1)
        for text in (*names, *texts):
            require_text(text, "A name or text of a clip", 10_000)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ReplayError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ReplayError(f"{path.name} is not the replay of a training, or is damaged.") from error
    if not _belong_together(replay):
        raise ReplayError(f"{path.name} contradicts itself: its clips and snapshots do not belong together.")
    return replay


def _listed(value: object) -> tuple:
    if not isinstance(value, list):
        raise TypeError("no list")
    return tuple(value)


def _belong_together(replay: Replay) -> bool:
    if len(replay.texts) != len(replay.names) or (replay.snapshots and not replay.names):
        return False
    for clip, samples in enumerate(replay.samples):
        if samples.dtype != torch.int16 or samples.ndim != 1 or not replay.features.n_fft // 2 < len(samples) < 2**21:
            return False
        for posteriors in (clips[clip] for clips in replay.posteriors):
            if posteriors.dtype != torch.uint8 or posteriors.ndim != 2 or posteriors.shape[1] != len(replay.alphabet):
                return False
            frames_s = len(posteriors) * replay.frame_s
            if not len(posteriors) or abs(frames_s - len(samples) / replay.features.sample_rate) > 1:
                return False
    return True


def as_int16(samples: np.ndarray) -> Tensor:
    """(S,) float in -1 to 1 -> (S,) int16."""
    return torch.from_numpy(np.round(np.clip(samples, -1, 1) * (2**15 - 1)).astype(np.int16))
