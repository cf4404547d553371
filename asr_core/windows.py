"""Rows in pieces -> logits in pieces, each window of them encoded with the context that it needs to each side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from asr_core.recogniser import Recogniser

ALIGNED = 8  # feature frames: windows start on its multiples, so that strides fall as they do in the whole recording


class Windows:
    """What is no longer than a window and its context is encoded in one piece, at the end; a longer recording window by
    window, as soon as the context after a window is there."""

    def __init__(self, model: Recogniser) -> None:
        """Rows are what the model takes: samples (S,) or feature frames (T, M)."""
        self.encode, self.stride, self.window, self.context = model.encode, model.stride, model.window, model.context
        self.kept: Tensor | None = None  # the rows that are needed again, from row `first` on
        self.first = self.done = 0  # rows

    def feed(self, rows: Tensor) -> Iterator[Tensor]:
        """More rows -> (T', V + P) of each window that is complete."""
        self._keep(rows)
        while self.first + len(self.kept) > max(self.done + self.window + self.context, self.window + 2 * self.context):
            yield self._window()

    def finish(self) -> Iterator[Tensor]:
        """(T', V + P) of the rest."""
        if self.first == self.done == 0 and len(self.kept) <= self.window + 2 * self.context:
            yield self.encode(self.kept)
            return
        while self.done < self.first + len(self.kept):
            yield self._window()

    def _keep(self, rows: Tensor) -> None:
        start = max(0, self.done - self.context)
        if self.kept is not None:
            rows = torch.cat([self.kept[start - self.first :], rows])
        self.kept, self.first = rows, start

    def _window(self) -> Tensor:
        before = min(self.done, self.context)
        start = self.done - before - self.first
        logits = self.encode(self.kept[start : start + before + self.window + self.context])
        self.done += self.window
        return logits[before // self.stride : (before + self.window) // self.stride]
