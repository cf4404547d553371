"""Rows of any length -> what a model makes of them, alone or in batches, with long silence left out.

Nothing is said in silence, and a model that was trained on speech may hear words there; so what is silent for seconds gives
blanks and costs nothing, however long it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_core.windows import ALIGNED, Windows

if TYPE_CHECKING:
    from asr_core.checkpoint import Checkpoint
    from asr_core.recogniser import Recogniser

SHORTEST = 400  # feature frames: a silence that is left out lasts at least so long, 4 s
MARGIN = 48  # feature frames of it that are still encoded with the sound before and after it
SURE = 20.0  # of a blank in silence: its logit above the others'


class Encoding:
    """Rows in pieces -> outputs in pieces (T', V + P): joined, one for each frame of the whole."""

    def __init__(self, model: Recogniser) -> None:
        self.model = model
        self.windows: Windows | None = Windows(model)  # of what is sounding; None in a long silence
        self.held: Tensor | None = None  # silent rows at the end, of which it is open what becomes
        self.position = 0  # of the first of them in the recording

    def feed(self, rows: Tensor) -> Iterator[Tensor]:
        """More rows -> the outputs that are complete."""
        for silent, part in _runs(self.model, rows):
            if not silent:
                yield from self._sound(part)
                continue
            self.held = part if self.held is None else torch.cat([self.held, part])
            if self.windows and len(self.held) >= SHORTEST:
                if self.position:  # or the recording begins with it
                    margin = MARGIN + -(self.position + MARGIN) % ALIGNED  # so that strides fall as they do in the whole
                    yield from self.windows.feed(self._let_go(margin))
                    yield from self.windows.finish()
                self.windows = None
            if not self.windows:
                yield from self._blanks((len(self.held) - MARGIN) // ALIGNED * ALIGNED)

    def finish(self) -> Iterator[Tensor]:
        """The outputs of the rest."""
        if self.windows:
            if self.held is not None:
                yield from self.windows.feed(self.held)
            yield from self.windows.finish()
        elif self.held is not None:
            yield from self._blanks(len(self.held))

    def _sound(self, rows: Tensor) -> Iterator[Tensor]:
        self.windows = self.windows or Windows(self.model)
        self.position += len(rows)
        if self.held is not None:
            rows = torch.cat([self._let_go(len(self.held)), rows])
        yield from self.windows.feed(rows)

    def _blanks(self, rows: int) -> Iterator[Tensor]:
        """For so many of the rows that are held, if they are any."""
        if rows <= 0:
            return
        alphabet, phones = self.model.alphabet, self.model.phones
        silence = self._let_go(rows)
        outputs = torch.zeros(-(-len(silence) // self.model.stride), len(alphabet) + phones, device=silence.device)
        outputs[:, alphabet.blank] = SURE
        if phones:
            outputs[:, -1] = SURE
        yield outputs

    def _let_go(self, rows: int) -> Tensor:
        """The first of the rows that are held, which are held no longer."""
        gone, self.held = self.held[:rows], self.held[rows:] if rows < len(self.held) else None
        self.position += len(gone)
        return gone


def encode(model: Recogniser, rows: Tensor) -> Tensor:
    """A whole recording, as Recogniser.encode takes it but of any length -> (T', V + P)."""
    encoding = Encoding(model)
    return torch.cat([*encoding.feed(rows), *encoding.finish()])


def encode_batch(model: Checkpoint, recordings: Sequence[Tensor]) -> list[Tensor]:
    """Each (T, M) -> its (T', V + P): as `encode`, but what needs no windows and has no long silence in one call."""
    together = [len(rows) <= model.window + 2 * model.context and not _has_gap(model, rows) for rows in recordings]
    outputs: dict[int, Tensor] = {}
    if chosen := [index for index, fits in enumerate(together) if fits]:
        features = pad_sequence([recordings[index] for index in chosen], batch_first=True)  # (B, T, M)
        lengths = torch.tensor([len(recordings[index]) for index in chosen], device=features.device)  # (B,)
        encoded = model.encoder(features.transpose(1, 2)[:, None], lengths)
        for index, each, length in zip(chosen, encoded.outputs, encoded.lengths.tolist(), strict=True):
            outputs[index] = each[:length]
    return [outputs[index] if fits else encode(model, recordings[index]) for index, fits in enumerate(together)]


def _runs(model: Recogniser, rows: Tensor) -> Iterator[tuple[bool, Tensor]]:
    """(whether it is silent, rows) of each stretch, one after the other."""
    if model.silence is None:
        yield False, rows
        return
    start = 0
    for silent, run in groupby((rows.amax(1) < model.silence).tolist()):
        stop = start + sum(1 for _ in run)
        yield silent, rows[start:stop]
        start = stop


def _has_gap(model: Recogniser, rows: Tensor) -> bool:
    return any(silent and len(part) >= SHORTEST for silent, part in _runs(model, rows))
