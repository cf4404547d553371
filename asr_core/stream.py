"""Live captions: sound in pieces of any size -> words that stay, and a tail that may still change.

Every half second the last seconds are heard again, with the new sound. What lies three seconds back, up to the end of a
word, is committed and never changes. Only seconds around the present are computed: it costs the same however long one talks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from asr_core import audio
from asr_core.decoding import collapse
from asr_core.emission import Emission
from asr_core.sound import WHOLE, Part, Sound
from asr_core.transcription import Transcription

if TYPE_CHECKING:
    from asr_core.transcriber import Transcriber

UPDATE_S = 0.5  # of new sound between two captions
LAG_S = 3.0  # what the model hears after a frame before it is committed; with half of it twice as many letters differ
CONTEXT_S = 8.0  # and before it
LONGEST_S = 8.0  # without the end of a word; then a word may be cut
KEPT_S = 8.0  # of what was committed last, for a view of it
WIDTH = 64  # of the beam


@dataclass(frozen=True)
class Caption:
    """committed: the text that stays. tail: what follows it as far as can be told now. duration_s: heard so far."""

    committed: str
    tail: str
    duration_s: float


class Stream:
    """One speaker's captions; made by Transcriber.stream. Captions depend on the sound alone, not on how it was cut."""

    def __init__(self, transcriber: Transcriber, decoder: str | None = None) -> None:
        self.transcriber, self.decoder = transcriber, decoder
        self.rate, self.frame_s = transcriber.model.features.sample_rate, transcriber.model.frame_s
        self.frame = round(self.frame_s * self.rate)  # samples in an encoder frame
        self.resampler: audio.Resampler | None = None
        self.pieces: list[np.ndarray] = []  # all samples, at the model's rate
        self.received = 0
        self.window = np.zeros(0, np.float32)  # the last of them, from sample window_start on
        self.window_start = 0
        self.updated = 0  # samples at the last update
        self.emissions: list[Emission] = []  # of the committed frames
        self.path: list[int] = []  # their tokens
        self.text = ""  # what they spell
        self.tail: tuple[list[Emission], tuple[int, ...]] = [], ()  # emission, if any, and path of what may change
        self.caption = Caption("", "", 0.0)

    def feed(self, samples: np.ndarray, rate: int) -> Caption:
        """(S,) or (S, channels), integer or float -> the caption now. Raises audio.AudioError."""
        if self.resampler is None:
            self.resampler = audio.Resampler(rate, self.rate)
        elif rate != self.resampler.rate:
            raise audio.AudioError(f"The stream began with {self.resampler.rate} samples a second; now there are {rate}.")
        self._hear(self.resampler.feed(audio.mono(samples, "The stream")))
        return self.caption

    def finish(self) -> Transcription:
        """The rest, and the whole as one result. Raises audio.AudioError for what is no speech: too short, or silent."""
        if self.resampler is not None:
            self._hear(self.resampler.finish())
        samples = audio.checked(np.concatenate([*self.pieces, np.zeros(0, np.float32)]), "The recording", self.rate)
        self._update(self.received, last=True)
        sound = self._sound(samples)
        return self.transcriber.reading(tuple(self.path), Emission.joined(self.emissions), sound, self.decoder)

    def recent(self, seconds: float) -> Transcription | None:
        """The last seconds, KEPT_S at most, as they are read now, as a part of the talk. None before there is sound."""
        tail, tail_path = self.tail
        frames = len(self.path) + len(tail_path)
        first = max(self.window_start // self.frame, frames - round(min(seconds, KEPT_S) / self.frame_s))
        samples = self.window[first * self.frame - self.window_start : self.updated - self.window_start]
        if frames == first or len(samples) <= self.transcriber.model.features.n_fft // 2:
            return None
        emission = Emission.joined([*self.emissions[first - frames :], *tail])  # a piece has a frame at least
        sound = self._sound(samples, Part(first * self.frame_s))
        path = (*self.path, *tail_path)[first:]
        return self.transcriber.reading(path, emission.between(first - frames), sound, self.decoder)

    @torch.no_grad()
    def _sound(self, samples: np.ndarray, part: Part = WHOLE) -> Sound:
        features = self.transcriber.log_mel(torch.from_numpy(samples)).numpy()  # (T, M)
        return Sound(samples, self.rate, features, self.transcriber.model.features.frame_s, part=part)

    def _hear(self, samples: np.ndarray) -> None:
        """Take the sound in, and update whenever another half second is complete."""
        self.pieces.append(samples)
        self.window = np.concatenate([self.window, samples])
        self.received += len(samples)
        step = round(UPDATE_S * self.rate)
        while self.updated + step <= self.received:
            self._update(self.updated + step)

    def _update(self, end: int, last: bool = False) -> None:
        """Read the window up to a sample, commit what is old enough."""
        self.updated = end
        emission = self._listen(end)
        if not emission:
            return
        path = self.transcriber.path(emission, self.decoder, width=WIDTH, after=self.text[-100:].split())
        cut = len(path) if last else self._cut(path, len(path) - round(LAG_S / self.frame_s))
        self.text += self._spell(path[:cut], self.path[-1:])
        if cut:
            self.emissions.append(Emission.joined([emission.between(0, cut)]))  # a copy, which does not keep the window
        self.path += path[:cut]
        self.tail = [emission.between(cut)], path[cut:]
        texts = (" ".join(text.split()) for text in (self.text, self._spell(path[cut:], self.path[-1:])))
        self.caption = Caption(*texts, end / self.rate)
        self._forget()

    def _spell(self, path: Sequence[int], before: list[int]) -> str:
        """The text of frames that follow `before`, one frame or none: its token may go on in the first of them."""
        alphabet = self.transcriber.model.alphabet
        tokens = collapse([*before, *path], alphabet.blank)
        return alphabet.decode(tokens[1:] if before and before[0] != alphabet.blank else tokens)

    def _cut(self, path: tuple[int, ...], stable: int) -> int:
        """How many of the frames are committed: up to the last end of a word before `stable`, so that no word is cut."""
        alphabet = self.transcriber.model.alphabet
        space, blank = alphabet.space, alphabet.blank
        old = path[: max(stable, 0)]
        if all(token in (space, blank) for token in old):
            return len(old)
        ends = [  # behind a space, or before the first frame of a token that begins a word
            frame + (token == space)
            for frame, (before, token) in enumerate(zip((blank, *old), old, strict=False))
            if token == space or token not in (blank, before) and alphabet.labels[token].startswith(" ")
        ]
        if ends and any(token not in (space, blank) for token in old[: ends[-1]]):
            return ends[-1]
        if len(path) * self.frame_s < LONGEST_S:
            return 0
        blanks = [frame for frame, token in enumerate(old) if token == blank]
        return blanks[-1] + 1 if blanks else len(old)

    def _listen(self, end: int) -> Emission | None:
        """The frames from the first that is not committed to sample `end`; None where there are none."""
        start = self._back(CONTEXT_S)
        samples = self.window[start - self.window_start : end - self.window_start]
        if len(samples) < self.transcriber.model.least:
            return None
        return self.transcriber.emission(samples).between(len(self.path) - start // self.frame) or None

    def _forget(self) -> None:
        """Keep what the next windows and a view need."""
        start = self._back(KEPT_S)
        self.window = self.window[start - self.window_start :]
        self.window_start = start

    def _back(self, seconds: float) -> int:
        """The sample so long before what is not committed, where a model's frames fall as in the whole."""
        oldest, step = len(self.path) * self.frame - round(seconds * self.rate), self.transcriber.model.step
        return max(0, oldest // step * step)
