"""Transcriber: the one way from audio to a Transcription."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr_core import adapters, audio
from asr_core.beam import WIDTH, beam_path
from asr_core.calibration import evidence_of
from asr_core.decoding import DECODERS, greedy_path
from asr_core.emission import Emission
from asr_core.encoding import Encoding, encode
from asr_core.features import LogMel, LogMelPieces
from asr_core.lookahead import Lookahead
from asr_core.recogniser import Recogniser
from asr_core.sound import Sound
from asr_core.spool import Spool
from asr_core.stream import Stream
from asr_core.transcription import Transcription

Progress = Callable[[str, float, float | None], None]  # what is being done, seconds done, seconds of the whole


class Transcriber:
    """A loaded model. Safe to call from several threads: it holds no state between calls."""

    def __init__(self, model: Recogniser) -> None:
        self.model = model
        self.log_mel = LogMel(model.features)

    @classmethod
    def from_checkpoint(cls, source: str | Path) -> Transcriber:
        """A shipped checkpoint by its name, a checkpoint folder, a Hub id, or another library's model: adapters.load. Raises
        checkpoint.CheckpointError."""
        return cls(adapters.load(source))

    @cached_property
    def lookahead(self) -> Lookahead | None:
        words = self.model.language_model
        return Lookahead(words, self.model.alphabet) if words else None

    def transcribe(
        self, source: audio.AudioSource, decoder: str | None = None, progress: Progress | None = None
    ) -> Transcription:
        """A path, the bytes of a file, or (rate, samples) -> Transcription. Raises audio.AudioError.

        A recording may be long: beyond some minutes its samples and frames lie on disk.
        decoder: one of DECODERS; None for beam where the checkpoint has a language model, and greedy where it has none.
        progress: called now and then with what is being done, "listening" or "reading", the seconds of sound that are done,
        and those of the whole, None where nothing tells. What it raises ends the work, and nothing is left of it.
        """
        emission, sound = self.listen(source, progress)
        return self.read(emission, sound, decoder, progress)

    @torch.no_grad()
    def listen(self, source: audio.AudioSource, progress: Progress | None = None) -> tuple[Emission, Sound]:
        """What the model makes of the sound, in one pass over it. Arguments and errors as those of transcribe."""
        config = self.model.features
        # In a spool, the outputs of a window lie in one piece with the others: each by itself, among the large
        # arrays of the encoder that come and go, would leave holes in the memory that grow with the length.
        samples, features, outputs = Spool(), Spool(config.n_mels), Spool(len(self.model.alphabet) + self.model.phones)
        frames, encoding = LogMelPieces(self.log_mel), Encoding(self.model)
        whole_s = audio.claimed_s(source) if progress else None

        def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            """(S,), and the (T, M) that they complete."""
            for block in audio.blocks(source, config.sample_rate):
                samples.append(block)
                yield block, frames.feed(block)
                if progress:
                    progress("listening", len(samples) / config.sample_rate, whole_s)
            yield block[:0], frames.finish()

        def take(pieces: Iterator[Tensor]) -> None:
            for piece in pieces:  # (T', V + P)
                outputs.append(piece.numpy())

        try:
            for block, mel in pieces():
                features.append(mel)
                take(encoding.feed(torch.from_numpy(block if self.model.takes_samples else mel)))
            take(encoding.finish())
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            folder = tempfile.gettempdir()
            raise audio.AudioError(f"The disk is full: there is no room for the sound. Make room in {folder}.") from error
        name = Path(source).name if isinstance(source, str | Path) else "recording"
        sound = Sound(samples, config.sample_rate, features, config.frame_s, name)
        return Emission.of_outputs(torch.from_numpy(outputs[:]), self.model.frame_s, self.model.alphabet), sound

    def read(
        self, emission: Emission, sound: Sound, decoder: str | None = None, progress: Progress | None = None
    ) -> Transcription:
        """What was heard, by this model or another -> its text by a decoder, as in transcribe."""
        tell = progress and (lambda done_s: progress("reading", min(done_s, sound.duration_s), sound.duration_s))
        return self.reading(self.path(emission, decoder, progress=tell), emission, sound, decoder)

    def reading(self, path: tuple[int, ...], emission: Emission, sound: Sound, decoder: str | None = None) -> Transcription:
        """What a decoder's path (T',) writes, each word with its confidence by the model's calibration for that decoder. An
        emission of another model, as what lacks the phones that this one hears, keeps its scores."""
        reading = Transcription.of_path(path, emission, sound)
        calibration = self.model.calibration.get(self._decoder(emission, decoder))
        own = emission.alphabet == self.model.alphabet and (emission.phones is None) == (self.model.phones == 0)
        if calibration is None or not own:
            return reading
        words = self.model.language_model
        return reading.with_confidences(calibration.confidences(evidence_of(reading, words and words.id_of)).tolist())

    def path(
        self,
        emission: Emission,
        decoder: str | None = None,
        width: int = WIDTH,
        after: Sequence[str] = (),
        progress: Callable[[float], None] | None = None,
    ) -> tuple[int, ...]:
        """The token of each frame, (T',), by a decoder. after: the words said before, which a language model heeds.
        progress: called with the seconds that have been read. The language model knows this model's alphabet alone: an
        emission of another is read without it."""
        if self._decoder(emission, decoder) == "greedy":
            return greedy_path(emission)
        return beam_path(emission, self._lookahead_in(emission), width, after, progress)

    def _decoder(self, emission: Emission, decoder: str | None) -> str:
        """Which of DECODERS is meant. Raises ValueError for another name."""
        decoder = decoder or ("beam" if self._lookahead_in(emission) else "greedy")
        if decoder not in DECODERS:
            raise ValueError(f"There is no decoder {decoder!r}. There are: {', '.join(DECODERS)}.")
        return decoder

    def _lookahead_in(self, emission: Emission) -> Lookahead | None:
        return self.lookahead if emission.alphabet == self.model.alphabet else None

    def stream(self, decoder: str | None = None) -> Stream:
        """Live captions of one speaker: feed it sound as it comes."""
        return Stream(self, decoder)

    def outputs(self, rows: Tensor) -> Tensor:
        """What the model takes, (T, M) or (S,) of any length -> (T', V + P), before the softmax."""
        return encode(self.model, rows)

    def logits(self, rows: Tensor) -> Tensor:
        """The same without the phones (T', V)."""
        return self.outputs(rows)[:, : len(self.model.alphabet)]

    @torch.no_grad()
    def emission(self, samples: np.ndarray) -> Emission:
        """Of (S,) at the model's rate, as many as it needs at least."""
        heard = torch.from_numpy(samples)
        outputs = encode(self.model, heard if self.model.takes_samples else self.log_mel(heard))  # (T', V + P)
        return Emission.of_outputs(outputs, self.model.frame_s, self.model.alphabet)
