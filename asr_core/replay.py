"""A training, told by what it made of a few clips: their posteriors after so many steps, from all blanks to letters.

One safetensors file: the clips' samples, and for every snapshot the posteriors of each clip (T', V) as the square root of
the probability in 255ths, which keeps small probabilities apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asr_core.emission import Emission
from asr_core.features import FeatureConfig, LogMel
from asr_core.files import write_atomically
from asr_core.sound import Sound
from asr_core.text import Alphabet

FILE = "replay.safetensors"


class ReplayError(ValueError):
    """A file that holds no replay, or not all of one."""


@dataclass(frozen=True)
class Snapshot:
    """A moment of the training. epoch: passes done, with fractions. loss: nats a character, on the clips."""

    step: int
    epoch: float
    loss: float


@dataclass(frozen=True, eq=False)
class Replay:
    """names, texts, samples: of the clips, samples (S,) int16. posteriors: of each snapshot, of each clip (T', V) uint8."""

    features: FeatureConfig
    alphabet: Alphabet
    frame_s: float
    names: tuple[str, ...]
    texts: tuple[str, ...]
    samples: tuple[Tensor, ...]
    snapshots: tuple[Snapshot, ...] = ()
    posteriors: tuple[tuple[Tensor, ...], ...] = ()

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
        fields = {name: getattr(self, name) for name in ("features", "alphabet", "frame_s", "names", "texts", "samples")}
        return Replay(**fields, snapshots=(*self.snapshots, snapshot), posteriors=(*self.posteriors, posteriors))

    def save(self, path: Path) -> None:
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
        }
        write_atomically(path, save(tensors, metadata={"replay": json.dumps(header)}))


def load(path: Path) -> Replay:
    """Raises ReplayError."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["replay"])
            names, snapshots = header["names"], header["snapshots"]
            samples = tuple(file.get_tensor(f"samples.{clip}") for clip in range(len(names)))
            posteriors = tuple(
                tuple(file.get_tensor(f"posteriors.{number}.{clip}") for clip in range(len(names)))
                for number in range(len(snapshots))
            )
        alphabet = Alphabet(tuple(header["alphabet"]["labels"]), header["alphabet"]["blank"])
        replay = Replay(
            FeatureConfig(**header["features"]),
            alphabet,
            float(header["frame_s"]),
            tuple(map(str, names)),
            tuple(map(str, header["texts"])),
            samples,
            tuple(Snapshot(**snapshot) for snapshot in snapshots),
            posteriors,
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReplayError(f"{path.name} is not the replay of a training, or is damaged.") from error
    sound = all(each.dtype == torch.int16 and each.ndim == 1 and 0 < len(each) < 2**21 for each in samples)
    shapes = {(each.dtype, each.shape[1:]) for clips in posteriors for each in clips}
    if not sound or len(replay.texts) != len(names) or shapes - {(torch.uint8, torch.Size([len(alphabet)]))}:
        raise ReplayError(f"{path.name} contradicts itself: its clips and snapshots do not belong together.")
    return replay


def as_int16(samples: np.ndarray) -> Tensor:
    """(S,) float in -1 to 1 -> (S,) int16."""
    return torch.from_numpy(np.round(np.clip(samples, -1, 1) * (2**15 - 1)).astype(np.int16))
