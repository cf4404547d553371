"""Utterances -> batches: buckets of like duration, lazy decoding, padding with exact lengths."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_core import audio, augment, conditions, ctc
from asr_core.data.utterances import Utterance
from asr_core.features import LogMel
from asr_core.phones import pronounce
from asr_core.text import Alphabet, TextError

EVALUATION_BATCH_S = 100.0
ROUND_FRAMES = 128  # batches are padded to multiples: bfloat16 products of round sizes take two thirds of the time on a CPU


@dataclass(frozen=True)
class Example:
    """One utterance, ready: one or two views of its features (T, M), targets (L,), phones (P,), empty when a word has no
    pronunciation."""

    utterance: Utterance
    views: tuple[Tensor, ...]
    targets: Tensor
    phones: Tensor


@dataclass(frozen=True)
class Skipped:
    """An utterance that could not be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Padded tensors and exact lengths; whatever had to be left out is named."""

    utterances: tuple[Utterance, ...]
    features: Tensor  # (B, 1, M, T)
    feature_lengths: Tensor  # (B,)
    targets: Tensor  # (B, L)
    target_lengths: Tensor  # (B,)
    phones: Tensor  # (B, P)
    phone_lengths: Tensor  # (B,), 0 where there is no pronunciation
    skipped: tuple[Skipped, ...]
    views: int = 1  # 2: the second half of the batch is the first again, masked otherwise


def bucket(
    durations_s: Sequence[float], batch_size: int | None, batch_s: float | None, generator: torch.Generator | None
) -> list[list[int]]:
    """Utterances of these durations, as indices in batches of like duration: at most `batch_size` of them, or `batch_s`
    seconds, padding included.

    With a generator: durations are blurred by a tenth, so that batches differ between epochs, and the order of batches
    is random. Without: sorted by duration, for evaluation.
    """
    durations = torch.tensor(durations_s)
    blur = 0.9 + 0.2 * torch.rand(len(durations), generator=generator) if generator else torch.ones(len(durations))
    batches: list[list[int]] = [[]]
    longest = 0.0
    for index in (durations * blur).argsort().tolist():
        grown = max(longest, durations_s[index])
        size = len(batches[-1]) + 1
        if batches[-1] and ((batch_size and size > batch_size) or (batch_s and size * grown > batch_s)):
            batches.append([])
            grown = durations_s[index]
        batches[-1].append(index)
        longest = grown
    if generator:
        batches = [batches[position] for position in torch.randperm(len(batches), generator=generator).tolist()]
    return batches


class SpeechDataset(Dataset):
    """Decodes on demand. A broken utterance becomes a Skipped, never an exception.

    output_lengths: the encoder's, to leave out a target that cannot fit its frames.
    augmentation, seed: None for evaluation. The random draws of an utterance depend on (seed, its index) alone, so any
    number of workers and any resumed run makes the same examples.
    condition: one of conditions.CONDITIONS, in which every utterance is heard, None for as it is.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        log_mel: LogMel,
        alphabet: Alphabet,
        output_lengths: Callable[[int], int],
        augmentation: augment.AugmentConfig | None = None,
        seed: int = 0,
        with_phones: bool = False,
        views: int = 1,
        condition: str | None = None,
    ) -> None:
        added_s = conditions.CONDITIONS[condition].added_s if condition else 0.0
        self.utterances = [replace(each, duration_s=each.duration_s + added_s) for each in utterances]
        self.log_mel = log_mel
        self.alphabet = alphabet
        self.output_lengths = output_lengths
        self.augmentation = augmentation
        self.seed = seed
        self.with_phones = with_phones
        self.views = views
        self.condition = condition

    def __len__(self) -> int:
        return len(self.utterances)

    def durations_s(self) -> list[float]:
        """Seconds of each utterance, with the silence that it gets."""
        return [utterance.duration_s + sum(self._silence(index)) for index, utterance in enumerate(self.utterances)]

    def _silence(self, index: int) -> augment.Silence:
        if not self.augmentation or not self.augmentation.silence:
            return augment.Silence()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + index + 2**40)  # other draws than those of the waveform
            return augment.draw_silence(self.augmentation)

    def __getitem__(self, index: int) -> Example | Skipped:
        utterance, rate = self.utterances[index], self.log_mel.config.sample_rate
        try:
            waveform = torch.from_numpy(audio.load(utterance.path, rate))
            targets = torch.tensor(self.alphabet.encode(utterance.text))
        except (audio.AudioError, TextError) as error:
            return Skipped(utterance.id, str(error))
        if len(targets) == 0:
            return Skipped(utterance.id, "Its transcript is empty.")
        if self.condition:
            waveform = conditions.heard_in(self.condition, waveform, rate, utterance.id)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + index)
            if self.augmentation:
                waveform = augment.augment_waveform(waveform, self.augmentation, rate, self._silence(index))
            features = self.log_mel(waveform)  # (T, M)
            views = [features]
            if self.augmentation:
                views = [augment.spec_augment(features, self.augmentation) for _ in range(self.views)]
        needed = int(ctc.frames_needed(targets[None], torch.tensor([len(targets)])))
        if needed > (frames := self.output_lengths(len(features))):
            return Skipped(utterance.id, f"Its {len(targets)} characters need {needed} frames and its audio has {frames}.")
        phones = torch.tensor(pronounce(utterance.text) if self.with_phones else [], dtype=torch.long)
        return Example(utterance, tuple(views), targets, phones)


def collate(items: Sequence[Example | Skipped]) -> Batch | tuple[Skipped, ...]:
    """Pad to the longest, and to a round number of frames. A batch with nothing in it comes back as what was skipped."""
    examples = [item for item in items if isinstance(item, Example)]
    skipped = tuple(item for item in items if isinstance(item, Skipped))
    if not examples:
        return skipped
    views = len(examples[0].views)
    features = pad_sequence([example.views[view] for view in range(views) for example in examples], batch_first=True)
    features = F.pad(features, (0, 0, 0, -features.shape[1] % ROUND_FRAMES))  # (B, T, M)
    examples *= views
    return Batch(
        utterances=tuple(example.utterance for example in examples),
        features=features.transpose(1, 2)[:, None].contiguous(),  # (B, 1, M, T)
        feature_lengths=torch.tensor([len(example.views[0]) for example in examples]),
        targets=pad_sequence([example.targets for example in examples], batch_first=True),
        target_lengths=torch.tensor([len(example.targets) for example in examples]),
        phones=pad_sequence([example.phones for example in examples], batch_first=True),
        phone_lengths=torch.tensor([len(example.phones) for example in examples]),
        skipped=skipped,
        views=views,
    )


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, torchrun's SIGTERM all children; the loop alone decides when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def evaluation_batches(
    utterances: Sequence[Utterance],
    log_mel: LogMel,
    alphabet: Alphabet,
    output_lengths: Callable[[int], int],
    workers: int = 1,
    share: Callable[[list[list[int]]], list[list[int]]] = list,
    condition: str | None = None,
) -> DataLoader:
    """Every utterance once, as it is or in a condition, in batches of like duration. share: picks this process's batches, of
    several."""
    dataset = SpeechDataset(utterances, log_mel, alphabet, output_lengths, condition=condition)
    return loader(dataset, share(bucket(dataset.durations_s(), None, EVALUATION_BATCH_S, None)), workers)


def loader(dataset: SpeechDataset, batches: list[list[int]], workers: int) -> DataLoader:
    """Batch after batch, decoded ahead by `workers` processes of one thread each (0: in this one)."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # else each loader draws from torch's own, and a resumed run would differ
    )
