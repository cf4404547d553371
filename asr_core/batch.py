"""A few recordings in one call of the encoder: the results are those of reading them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr_core import audio
from asr_core.audio import AudioError
from asr_core.emission import Emission
from asr_core.encoding import encode_batch
from asr_core.sound import Sound
from asr_core.transcriber import Progress, Transcriber
from asr_core.transcription import Transcription

BATCH_S = 30.0  # audio in a batch, padding included: short clips gain threefold by it, more gains nothing on a CPU


@dataclass(frozen=True)
class Asked:
    """A recording, and the decoders by which it is to be read, as Transcriber.transcribe names them."""

    path: Path
    decoders: tuple[str | None, ...]


def read_batch(
    transcriber: Transcriber, batch: Sequence[Asked], progress: Progress | None = None
) -> Iterator[tuple[Transcription, ...] | AudioError]:
    """For each, in turn and as soon as it is decoded: a reading by each of its decoders, all of one emission; or the
    reason why there is none. One alone may be of any length; it is then read window by window,
    and progress is told of it as by Transcriber.transcribe."""
    if len(batch) == 1 or transcriber.model.takes_samples:  # not every library's models leave padding alone
        for asked in batch:
            yield attempt(asked.path, _read_alone, transcriber, asked, progress)
        return
    sounds = [attempt(asked.path, _listen, transcriber, asked.path) for asked in batch]
    # A header may promise less than is there; padding the others to that would take the memory of all.
    together = [isinstance(sound, Sound) and sound.duration_s <= BATCH_S for sound in sounds]
    emissions = iter(_emissions(transcriber, [sound for sound, is_short in zip(sounds, together, strict=True) if is_short]))
    for asked, sound, is_short in zip(batch, sounds, together, strict=True):
        if is_short:
            yield attempt(asked.path, _read, transcriber, next(emissions), sound, asked.decoders)
        else:
            yield sound if isinstance(sound, AudioError) else attempt(asked.path, _read_alone, transcriber, asked, progress)


def attempt(path: Path, function: Callable, *arguments: object) -> Any:
    """What the function returns, or an AudioError in place of whatever it raises: one bad file never stops the rest."""
    try:
        return function(*arguments)
    except AudioError as error:
        return error
    except Exception as error:
        return AudioError(f"{path.name} could not be transcribed: {str(error).rstrip('.') or type(error).__name__}.")


def _read_alone(transcriber: Transcriber, asked: Asked, progress: Progress | None) -> tuple[Transcription, ...]:
    emission, sound = transcriber.listen(asked.path, progress)
    return _read(transcriber, emission, sound, asked.decoders, progress)


def _read(
    transcriber: Transcriber,
    emission: Emission,
    sound: Sound,
    decoders: Sequence[str | None],
    progress: Progress | None = None,
) -> tuple[Transcription, ...]:
    return tuple(transcriber.read(emission, sound, decoder, progress) for decoder in decoders)


@torch.no_grad()
def _listen(transcriber: Transcriber, path: Path) -> Sound:
    config = transcriber.model.features
    samples = audio.load(path, config.sample_rate)  # (S,)
    features = transcriber.log_mel(torch.from_numpy(samples)).numpy()  # (T, M)
    return Sound(samples, config.sample_rate, features, config.frame_s, path.name)


@torch.no_grad()
def _emissions(transcriber: Transcriber, sounds: Sequence[Sound]) -> list[Emission]:
    if not sounds:
        return []
    model = transcriber.model
    outputs = encode_batch(model, [torch.from_numpy(sound.features) for sound in sounds])  # each (T', V + P)
    return [Emission.of_outputs(each, model.frame_s, model.alphabet) for each in outputs]
