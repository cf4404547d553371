"""The mistakes of the rules, made for real on one clip: the code that people write, the tensors that it produces, torch's
loss on them, the Doctor's verdict, and the alignment that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr_core.ctc import frames_needed
from asr_core.decoding import collapse
from asr_core.doctor.diagnosis import diagnose
from asr_core.doctor.report import Diagnosis
from asr_core.emission import Emission
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription
from asr_core.viterbi import Lattice, best_path

if TYPE_CHECKING:
    from asr_core.transcriber import Transcriber

LONGEST_S = 60.0  # the longest clip to break: some mistakes run the model on it several times over
MICROPHONE = 3  # times the model's sample rate: 48 kHz, which browsers record at, and 16 kHz


class MistakeError(ValueError):
    """A clip on which a mistake cannot be made; the message says why."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a training script gives to torch.nn.CTCLoss. Utterance 0 is the clip.

    logits (T', B, V), a leaf of the autograd graph; log_probs (T', B, V) made of it. sound, frame_s: what the frames are
    drawn over. told: what else diagnose is told.
    """

    logits: Tensor
    log_probs: Tensor
    targets: Tensor  # (B, L)
    input_lengths: Tensor  # (B,)
    target_lengths: Tensor  # (B,)
    blank: int
    alphabet: Alphabet
    sound: Sound
    frame_s: float
    told: dict = field(default_factory=dict)

    @property
    def target(self) -> Tensor:
        """(L,): the clip's."""
        return self.targets[0, : int(self.target_lengths[0])]

    @cached_property
    def loss(self) -> float:
        """Nats of the clip, as torch computes them; inf where no path fits. Raises RuntimeError where torch refuses."""
        with torch.no_grad():
            losses = F.ctc_loss(
                self.log_probs, self.targets, self.input_lengths, self.target_lengths, blank=self.blank, reduction="none"
            )
        return float(losses[0])

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return diagnose(
            self.log_probs,
            self.targets,
            self.input_lengths,
            self.target_lengths,
            blank=self.blank,
            labels=self.alphabet.labels,
            **self.told,
        )

    @property
    def emission(self) -> Emission:
        """The clip's frames, as many as the loss is given."""
        frames = min(int(self.input_lengths[0]), len(self.log_probs))
        return Emission(self.log_probs.detach()[:frames, 0], self.frame_s, self.alphabet)

    @property
    def text(self) -> str:
        """What the best token of each frame reads."""
        return self.alphabet.decode(collapse(self.emission.log_probs.argmax(-1).tolist(), self.alphabet.blank))

    @cached_property
    def aligned(self) -> Transcription | None:
        """The target along the path that costs this loss least; None where it has no path, or torch refuses."""
        emission = self.emission
        if not len(emission) or int(self.input_lengths.max()) > len(self.log_probs):
            return None
        # The loss takes a blank among the labels for a letter that sounds like the blank; so does the lattice.
        path = best_path(emission.log_probs.numpy(), Lattice.of_text(self.target.tolist(), self.blank))
        return None if path is None else Transcription.of_path(path, emission, self.sound)


class Clip:
    """One recording and its text, as the right training code makes batches of them."""

    def __init__(self, transcriber: Transcriber, sound: Sound, text: str) -> None:
        """Raises MistakeError when there is no text, or too much sound."""
        if not text:
            raise MistakeError("Nothing was heard in this recording, so there is no text to train on. Type what was said.")
        if sound.duration_s > LONGEST_S:
            raise MistakeError(
                f"This recording is {sound.duration_s:.0f} s long; mistakes are made on {LONGEST_S:.0f} s at most. "
                "Use a shorter one, or an example."
            )
        if transcriber.model.takes_samples:
            raise MistakeError("These mistakes look into the encoder, which only a model of ours shows. Choose one of ours.")
        if not sound.is_heard:
            raise MistakeError("These mistakes are made with the sound, and this reading came without it. Add it.")
        self.transcriber, self.text = transcriber, transcriber.model.alphabet.normalise(text)
        self.sound = replace(sound, samples=sound.samples[:], features=sound.features[:])
        self.model = transcriber.model
        self.target = torch.tensor(self.model.alphabet.encode(self.text))  # (L,)

    @cached_property
    def alone(self) -> Batch:
        """A batch of the clip only."""
        with torch.no_grad():
            logits = self.transcriber.logits(torch.from_numpy(self.sound.features))[:, None]  # (T', 1, V)
        lengths = torch.tensor([len(logits)])
        return self._batch(logits, self.target[None], lengths, torch.tensor([len(self.target)]))

    @cached_property
    def padded(self) -> Batch:
        """A batch of the clip and a longer one, the same said twice, with whose length it is padded."""
        return self.with_neighbour(self.model.encoder)

    def with_neighbour(self, encoder: nn.Module) -> Batch:
        samples = np.concatenate([self.sound.samples] * 2)
        clips = [torch.from_numpy(self.sound.features), self.transcriber.log_mel(torch.from_numpy(samples))]  # (T, M) each
        lengths = torch.tensor([len(clip) for clip in clips])
        features = pad_sequence(clips, batch_first=True).transpose(1, 2)[:, None]  # (B, 1, M, T)
        targets = [self.target, self.target.repeat(2)]
        with torch.no_grad():
            encoded = encoder(features, lengths)
        told = {"model": encoder, "batch": (features, lengths), "durations": lengths}
        silence = np.concatenate([self.sound.samples, np.zeros_like(self.sound.samples)])
        sound = replace(self.sound, samples=silence, features=features[0, 0].T.numpy())
        return self._batch(
            encoded.logits.transpose(0, 1),
            pad_sequence(targets, batch_first=True, padding_value=self.model.alphabet.blank),
            encoded.lengths,
            torch.tensor([len(target) for target in targets]),
            told=told,
            sound=sound,
        )

    def at_microphone_rate(self) -> Batch:
        """The recording as a microphone gives it, taken for one at the model's rate."""
        rate = self.sound.sample_rate
        samples = torchaudio.functional.resample(torch.from_numpy(self.sound.samples), rate, MICROPHONE * rate)
        with torch.no_grad():
            logits = self.transcriber.logits(self.transcriber.log_mel(samples))[:, None]  # (T', 1, V)
        told = {"sample_rate": MICROPHONE * rate, "expected_sample_rate": rate}
        frames, tokens = torch.tensor([len(logits)]), torch.tensor([len(self.target)])
        return self._batch(logits, self.target[None], frames, tokens, told=told, frame_s=self.model.frame_s / MICROPHONE)

    def _batch(self, logits: Tensor, targets: Tensor, frames: Tensor, tokens: Tensor, **changes: object) -> Batch:
        alphabet, logits = self.model.alphabet, logits.detach().requires_grad_()
        made = Batch(
            logits, logits.log_softmax(-1), targets, frames, tokens, alphabet.blank, alphabet, self.sound, self.model.frame_s
        )
        return replace(made, **changes)


class Unmasked(nn.Module):
    """An encoder that takes the padding for sound."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor, lengths: Tensor) -> object:
        return self.encoder(features, torch.full_like(lengths, features.shape[-1]))


@dataclass(frozen=True)
class Mistake:
    """wrong, right: the line that people write, and what it should be. how: what is done to the clip, where the lines do not
    say it. in_a_batch: it takes a second utterance to make."""

    name: str
    wrong: str
    right: str
    make: Callable[[Clip], Batch]
    how: str = ""
    in_a_batch: bool = False

    def on(self, clip: Clip) -> tuple[Batch, Batch]:
        """What the right code and this code give to the loss. Raises MistakeError."""
        right = clip.padded if self.in_a_batch else clip.alone
        if right.aligned is None:  # of another model's reading, which may have more frames
            needed = int(frames_needed(right.targets[:1], right.target_lengths[:1]))
            raise MistakeError(
                f"The text is too long for the model that mistakes are made with: it needs at least {needed} frames, and "
                f"the model hears {len(right.emission)} in this recording. Type a shorter sentence."
            )
        return right, self.make(clip)


def _scores(change: Callable[[Tensor], Tensor]) -> Callable[[Clip], Batch]:
    """A mistake between the logits (T', B, V) and the loss."""
    return lambda clip: replace(clip.alone, log_probs=change(clip.alone.logits))


def _space_as_blank(clip: Clip) -> Batch:
    if " " not in clip.text:
        raise MistakeError("The text has no space that could be taken for the blank. Type a sentence of two words or more.")
    (space,) = clip.model.alphabet.encode(" ")
    targets = clip.alone.targets
    return replace(clip.alone, targets=torch.where(targets == space, clip.alone.blank, targets))


def _padded_lengths(clip: Clip) -> Batch:
    return replace(clip.padded, target_lengths=torch.full_like(clip.padded.target_lengths, clip.padded.targets.shape[1]))


def _too_long(clip: Clip) -> Batch:
    times = max(3, len(clip.alone.logits) // len(clip.target) + 1)
    target = clip.target.repeat(times)
    return replace(clip.alone, targets=target[None], target_lengths=torch.tensor([len(target)]))


def _default_blank(clip: Clip) -> Batch:
    if clip.alone.blank == 0:
        raise MistakeError("This model's blank is token 0, which torch.nn.CTCLoss takes for the blank anyway.")
    return replace(clip.alone, blank=0)


def _unmasked(clip: Clip) -> Batch:
    return clip.with_neighbour(Unmasked(clip.model.encoder))


NEIGHBOUR = "The batch holds this recording and a longer one, the same said twice."
LOG_SOFTMAX = "log_probs = logits.log_softmax(-1)"
MISTAKES = (
    Mistake(
        "Softmax in place of log_softmax", "log_probs = logits.softmax(-1)", LOG_SOFTMAX, _scores(lambda x: x.softmax(-1))
    ),
    Mistake("Raw logits", "log_probs = logits", LOG_SOFTMAX, _scores(lambda x: x)),
    Mistake(
        "Softmax over time",
        "log_probs = logits.log_softmax(0)  # of (T, B, V)",
        LOG_SOFTMAX,
        _scores(lambda x: x.log_softmax(0)),
    ),
    Mistake(
        "Softmax twice",
        "log_probs = logits.softmax(-1).log_softmax(-1)",
        LOG_SOFTMAX,
        _scores(lambda x: x.softmax(-1).log_softmax(-1)),
    ),
    Mistake("Log of softmax", "log_probs = logits.softmax(-1).log()", LOG_SOFTMAX, _scores(lambda x: x.softmax(-1).log())),
    Mistake(
        "Blank in the target",
        'ids = {"<blank>": blank, " ": blank, "a": ...}',
        'ids = {"<blank>": blank, " ": space, "a": ...}',
        _space_as_blank,
        "The space is given the number of the blank.",
    ),
    Mistake(
        "T // 2 once too often",
        "input_lengths = encoder.output_lengths(lengths) // 2",
        "input_lengths = encoder.output_lengths(lengths)",
        lambda clip: replace(clip.alone, input_lengths=clip.alone.input_lengths // 2),
    ),
    Mistake(
        "Lengths before subsampling",
        "input_lengths = lengths",
        "input_lengths = encoder.output_lengths(lengths)",
        lambda clip: replace(clip.alone, input_lengths=torch.tensor([len(clip.sound.features)])),
    ),
    Mistake(
        "Target lengths of the padding",
        "target_lengths = torch.full((len(texts),), targets.shape[1])",
        "target_lengths = torch.tensor([len(text) for text in texts])",
        _padded_lengths,
        f"{NEIGHBOUR} Its target is padded with blanks, and the padding counted.",
        in_a_batch=True,
    ),
    Mistake(
        "Target longer than its frames",
        "targets = encode(chapter.text)",
        "targets = encode(segment.text)",
        _too_long,
        "The text is given several times over, as when the words of a chapter are paired with the sound of a sentence.",
    ),
    Mistake(
        "Another blank in the loss than in the decoder",
        "loss = CTCLoss()(log_probs, ...)  # blank=0 unless told otherwise",
        "loss = CTCLoss(blank=alphabet.blank)(log_probs, ...)",
        _default_blank,
    ),
    Mistake(
        "Wrong sample rate",
        "features = log_mel(samples)  # as the microphone gave them",
        "features = log_mel(resample(samples, microphone_rate, model_rate))",
        Clip.at_microphone_rate,
        f"The recording has {MICROPHONE} times the model's rate, as a browser's microphone gives it, and is read as it is.",
    ),
    Mistake(
        "Padding of the batch taken for sound",
        "lengths = torch.full((len(clips),), features.shape[-1])",
        "lengths = torch.tensor([len(clip) for clip in clips])",
        _unmasked,
        f"{NEIGHBOUR} Encoder, loss and decoder take the padding for sound.",
        in_a_batch=True,
    ),
)
