"""Transcriber: the one way from audio to a Transcription."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from asr_core import audio, checkpoint
from asr_core.beam import WIDTH, beam_path
from asr_core.checkpoint import Checkpoint
from asr_core.decoding import greedy_path
from asr_core.emission import Emission
from asr_core.lookahead import Lookahead
from asr_core.sound import Sound
from asr_core.stream import Stream
from asr_core.transcription import Transcription

DECODERS = {
    "greedy": "the most probable token of each frame",
    "beam": "the text whose paths together are most probable, in the light of the checkpoint's language model",
}

WINDOW = 2_000  # feature frames whose output is kept from one window: 20 s at 10 ms
CONTEXT = 1_000  # feature frames that a window sees to each side of them


class Transcriber:
    """A loaded model. Safe to call from several threads: it holds no state between calls."""

    def __init__(self, model: Checkpoint) -> None:
        self.model = model
        self.log_mel = model.log_mel()

    @classmethod
    def from_checkpoint(cls, source: str | Path) -> Transcriber:
        """A checkpoint folder or a Hub id. Raises checkpoint.CheckpointError."""
        return cls(checkpoint.load(source))

    @cached_property
    def lookahead(self) -> Lookahead | None:
        words = self.model.language_model
        return Lookahead(words, self.model.alphabet) if words else None

    def transcribe(self, source: audio.AudioSource, decoder: str | None = None) -> Transcription:
        """A path, the bytes of a file, or (rate, samples) -> Transcription. Raises audio.AudioError.

        decoder: one of DECODERS; None for beam where the checkpoint has a language model, and greedy where it has none.
        """
        config = self.model.features
        samples = audio.load(source, config.sample_rate)  # (S,)
        with torch.no_grad():
            features = self.log_mel(torch.from_numpy(samples))  # (T, M)
            log_probs = self.logits(features).log_softmax(-1)  # (T', V)
        name = Path(source).name if isinstance(source, str | Path) else "recording"
        sound = Sound(samples, config.sample_rate, features, config.frame_s, name)
        emission = Emission(log_probs, self.model.frame_s, self.model.alphabet)
        return self.read(emission, sound, decoder)

    def read(self, emission: Emission, sound: Sound, decoder: str | None = None) -> Transcription:
        """What was heard -> its text by a decoder, as in transcribe."""
        return Transcription.of_path(self.path(emission, decoder), emission, sound)

    def path(
        self, emission: Emission, decoder: str | None = None, width: int = WIDTH, after: Sequence[str] = ()
    ) -> tuple[int, ...]:
        """The token of each frame, (T',), by a decoder. after: the words said before, which a language model heeds."""
        decoder = decoder or ("beam" if self.lookahead else "greedy")
        if decoder not in DECODERS:
            raise ValueError(f"There is no decoder {decoder!r}. There are: {', '.join(DECODERS)}.")
        return greedy_path(emission) if decoder == "greedy" else beam_path(emission, self.lookahead, width, after)

    def stream(self, decoder: str | None = None) -> Stream:
        """Live captions of one speaker: feed it sound as it comes."""
        return Stream(self, decoder)

    def logits(self, features: Tensor) -> Tensor:
        """(T, M) -> (T', V), before the softmax. What is longer than a window and its context is read window by window.

        Windows start on multiples of 8 feature frames, so that strides fall as they do in the whole recording.
        """
        frames, subsampling = len(features), self.model.encoder.subsampling
        if frames <= WINDOW + 2 * CONTEXT:
            return self.encode(features)
        pieces = []
        for start in range(0, frames, WINDOW):
            before = min(start, CONTEXT)
            logits = self.encode(features[start - before : start + WINDOW + CONTEXT])
            pieces.append(logits[before // subsampling : (before + WINDOW) // subsampling])
        return torch.cat(pieces)

    def encode(self, features: Tensor) -> Tensor:
        """(T, M) -> (T', V), before the softmax, in one piece."""
        encoded = self.model.encoder(features.T[None, None], torch.tensor([len(features)]))
        return encoded.logits[0]
