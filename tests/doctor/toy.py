"""A language of eleven letters and a recogniser small enough to be trained inside a test, rightly and wrongly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY, BLANK, FEATURES = 12, 0, 12
LABELS = ("<blank>", *"abcdefghijk")


@cache
def spoken(utterances: int = 6, seed: int = 0, most: int = 9) -> dict[str, Tensor]:
    """features (B, T, F) zero-padded, lengths (B,), targets (B, L) padded with blanks, target_lengths (B,). Every
    letter lasts three to six frames and a pause follows it, so that any text fits."""
    draw = torch.Generator().manual_seed(seed)
    rows, targets = [], []
    for number in range(utterances):
        letters = torch.randint(1, VOCABULARY, (most - number % 4,), generator=draw)
        frames = [
            index for letter in letters.tolist() for index in [letter] * int(torch.randint(3, 7, (), generator=draw)) + [0]
        ]
        rows.append(F.one_hot(torch.tensor(frames), FEATURES) + 0.2 * torch.randn(len(frames), FEATURES, generator=draw))
        targets.append(letters)
    return {
        "features": nn.utils.rnn.pad_sequence(rows, batch_first=True),
        "lengths": torch.tensor([len(row) for row in rows]),
        "targets": nn.utils.rnn.pad_sequence(targets, batch_first=True),
        "target_lengths": torch.tensor([len(row) for row in targets]),
    }


class Toy(nn.Module):
    """Two convolutions, and the mean over the utterance beside every frame: (B, T, F), lengths -> logits (B, T, V).

    masked: no padding in the mean, nor beyond the last frame.
    """

    def __init__(self, seed: int = 0, masked: bool = True, dropout: float = 0.0, norm: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.masked = masked
        self.first = nn.Conv1d(FEATURES, 32, 5, padding=2)
        self.norm = norm or nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv1d(32, 32, 3, padding=1)
        self.head = nn.Linear(64, VOCABULARY)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        mask = torch.ones(features.shape[:2])
        if self.masked:
            mask = (torch.arange(features.shape[1])[None, :] < lengths[:, None]).float()
        mask = mask[:, None]  # (B, 1, T)
        x = self.dropout(self.norm(self.first(features.transpose(1, 2))).relu()) * mask  # (B, 32, T)
        x = self.second(x).relu() * mask
        context = (x.sum(2) / mask.sum(2))[..., None].expand_as(x)  # (B, 32, T)
        return self.head(torch.cat([x, context], dim=1).transpose(1, 2))


def right(logits: Tensor) -> Tensor:
    """(B, T, V) -> what the loss wants, (T, B, V)."""
    return logits.log_softmax(-1).transpose(0, 1)


def train(
    model: nn.Module, steps: int, feed: Callable[[Tensor], Tensor] = right, silence: bool = False, rate: float = 1e-2
) -> list[float]:
    """A few steps on made-up speech; feed: what the script does between the logits and the loss. Returns the losses."""
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=rate), []
    for step in range(steps):
        batch = spoken(seed=100 + step % 20)
        features = torch.zeros_like(batch["features"]) if silence else batch["features"]
        fed = feed(model(features, batch["lengths"]))
        loss = F.ctc_loss(fed, batch["targets"], batch["lengths"], batch["target_lengths"])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


@cache
def trained(steps: int = 150, silence: bool = False) -> Toy:
    model = Toy()
    train(model, steps, silence=silence)
    return model.eval()


def case(
    model: nn.Module | None = None, feed: Callable[[Tensor], Tensor] = right, /, **changes: object
) -> dict[str, object]:
    """The arguments of diagnose for one batch of that model, with some of them changed."""
    batch = spoken()
    logits = (model or Toy())(batch["features"], batch["lengths"])
    made = {
        "log_probs": feed(logits),
        "targets": batch["targets"],
        "input_lengths": batch["lengths"],
        "target_lengths": batch["target_lengths"],
        "blank": BLANK,
    }
    return made | changes


def of_model(model: nn.Module, feed: Callable[[Tensor], Tensor] = right, /, **changes: object) -> dict[str, object]:
    """The same, with the model and what it was called with."""
    batch = spoken()
    return case(model, feed, model=model, batch=(batch["features"], batch["lengths"])) | changes
