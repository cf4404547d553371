"""The figures of a model on a set of utterances: loss, WER, CER, real-time factor. The same for training and for the
command line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_core.alignment import Span
from asr_core.checkpoint import Checkpoint
from asr_core.ctc import ctc_loss
from asr_core.data.batches import Batch, Skipped
from asr_core.decoding import greedy_decode
from asr_core.encoding import encode_batch
from asr_core.metrics import ErrorCounts, character_errors, word_errors
from asr_core.transcription import Transcription


@dataclass(frozen=True)
class Decoded:
    """One utterance's reference and hypothesis. words: the hypothesis's, where it was decoded to a Transcription."""

    id: str
    speaker: str
    reference: str
    hypothesis: str
    words: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """words, characters: corpus-level counts. loss: nats a character of the reference. audio_s, compute_s: seconds of
    speech, and seconds spent in the encoder and the decoder."""

    words: ErrorCounts
    characters: ErrorCounts
    loss: float
    audio_s: float
    compute_s: float
    decoded: tuple[Decoded, ...]
    skipped: tuple[Skipped, ...]

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Of all utterances, from evaluations of parts of them. The parts' seconds of computing are added up."""
        characters = sum((part.characters for part in parts), ErrorCounts())
        return cls(
            sum((part.words for part in parts), ErrorCounts()),
            characters,
            sum(part.loss * part.characters.reference for part in parts) / max(characters.reference, 1),
            sum(part.audio_s for part in parts),
            sum(part.compute_s for part in parts),
            tuple(each for part in parts for each in part.decoded),
            tuple(each for part in parts for each in part.skipped),
        )

    @property
    def wer(self) -> float:
        return self.words.rate if self.decoded else math.nan  # nothing measured is no perfect score

    @property
    def cer(self) -> float:
        return self.characters.rate if self.decoded else math.nan

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for each second of speech."""
        return self.compute_s / max(self.audio_s, 1e-9)

    def of_speakers(self) -> dict[str, tuple[ErrorCounts, ErrorCounts]]:
        """Word and character errors of each speaker, in alphabetical order."""
        counts: dict[str, tuple[ErrorCounts, ErrorCounts]] = {}
        for each in sorted(self.decoded, key=lambda each: each.speaker):
            words, characters = counts.get(each.speaker, (ErrorCounts(), ErrorCounts()))
            words += word_errors(each.reference, each.hypothesis)
            counts[each.speaker] = words, characters + character_errors(each.reference, each.hypothesis)
        return counts

    def summary(self) -> dict:
        """The figures as JSON has them."""
        return {
            "utterances": len(self.decoded),
            "skipped": len(self.skipped),
            "wer": self.wer,
            "cer": self.cer,
            "words": vars(self.words),
            "characters": vars(self.characters),
            "loss": self.loss,
            "audio_s": self.audio_s,
            "real_time_factor": self.real_time_factor,
        }


@torch.no_grad()
def evaluate(
    model: Checkpoint,
    batches: Iterable[Batch | tuple[Skipped, ...]],
    autocast: torch.autocast | None = None,
    decode: Callable[[Tensor], Transcription] | None = None,
) -> Evaluation:
    """Decode every batch as a Transcriber would, in eval mode; the encoder's mode is put back afterwards.

    decode: what an encoder gives out of an utterance, as logits (T', V + P), to its reading; greedily to a text when None.
    """
    words, characters = ErrorCounts(), ErrorCounts()
    loss = audio_s = compute_s = 0.0
    decoded: list[Decoded] = []
    skipped: list[Skipped] = []
    encoder, alphabet = model.encoder, model.alphabet
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    for batch in batches:
        if isinstance(batch, tuple):
            skipped += batch
            continue
        skipped += batch.skipped
        started = time.perf_counter()
        with autocast or torch.autocast(device.type, enabled=False):
            features = batch.features[:, 0].transpose(1, 2).to(device)  # (B, T, M)
            outputs = encode_batch(
                model, [each[:length] for each, length in zip(features, batch.feature_lengths.tolist(), strict=True)]
            )  # each (T', V + P)
        log_probs = pad_sequence([each[:, : len(alphabet)].float().log_softmax(-1) for each in outputs], batch_first=True)
        lengths = torch.tensor([len(each) for each in outputs], device=device)  # (B,) of log_probs (B, T', V)
        if decode:
            hypotheses = [(reading.text, reading.words) for reading in (decode(each.float()) for each in outputs)]
        else:
            hypotheses = [(text, ()) for text in greedy_decode(log_probs, lengths, alphabet)]
        compute_s += time.perf_counter() - started
        audio_s += sum(utterance.duration_s for utterance in batch.utterances)
        targets, target_lengths = batch.targets.to(device), batch.target_lengths.to(device)
        loss += float(ctc_loss(log_probs, targets, lengths, target_lengths, alphabet.blank).sum())
        for utterance, (hypothesis, heard) in zip(batch.utterances, hypotheses, strict=True):
            words += word_errors(utterance.text, hypothesis)
            characters += character_errors(utterance.text, hypothesis)
            decoded.append(Decoded(utterance.id, utterance.speaker, utterance.text, hypothesis, heard))
    encoder.train(was_training)
    loss /= max(characters.reference, 1)
    return Evaluation(words, characters, loss, audio_s, compute_s, tuple(decoded), tuple(skipped))
