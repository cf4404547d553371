"""Features in pieces -> logits in pieces, each window of them encoded with the context that it needs to each side."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

WINDOW = 4_000  # feature frames whose output is kept from one window: 40 s at 10 ms
# Feature frames that a window sees to each side of them. The shipped model sees further, but what lies beyond moves no
# probability by a thousandth; with 10 s it was a hundredth, which decided some letters.
CONTEXT = 1_600


class Windows:
    """What is no longer than a window and its context is encoded in one piece, at the end; a longer recording window by
    window, as soon as the context after a window is there.

    Windows start on multiples of 8 feature frames, so that strides fall as they do in the whole recording.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], subsampling: int) -> None:
        """encode: (T, M) -> (T', V), in one piece. subsampling: feature frames in an encoder frame."""
        self.encode, self.subsampling = encode, subsampling
        self.kept: Tensor | None = None  # (T, M) the features that are needed again, from frame `first` on
        self.first = self.done = 0  # feature frames

    def feed(self, features: Tensor) -> Iterator[Tensor]:
        """(T, M) more -> (T', V) of each window that is complete."""
        self._keep(features)
        while self.first + len(self.kept) > max(self.done + WINDOW + CONTEXT, WINDOW + 2 * CONTEXT):
            yield self._window()

    def finish(self) -> Iterator[Tensor]:
        """(T', V) of the rest."""
        if self.first == self.done == 0 and len(self.kept) <= WINDOW + 2 * CONTEXT:
            yield self.encode(self.kept)
            return
        while self.done < self.first + len(self.kept):
            yield self._window()

    def _keep(self, features: Tensor) -> None:
        start = max(0, self.done - CONTEXT)
        if self.kept is not None:
            features = torch.cat([self.kept[start - self.first :], features])
        self.kept, self.first = features, start

    def _window(self) -> Tensor:
        before = min(self.done, CONTEXT)
        start = self.done - before - self.first
        logits = self.encode(self.kept[start : start + before + WINDOW + CONTEXT])
        self.done += WINDOW
        return logits[before // self.subsampling : (before + WINDOW) // self.subsampling]
