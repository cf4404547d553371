"""The training loop: one-cycle AdamW on the CTC loss, validated every epoch, safe to interrupt at any moment."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from asr_core import checkpoint, ctc, doctor
from asr_core.checkpoint import Checkpoint, CheckpointError
from asr_core.ctc import CtcError
from asr_core.data.batches import Batch, Skipped, SpeechDataset, bucket, evaluation_batches, loader
from asr_core.data.phones import PHONE_BLANK
from asr_core.data.utterances import Utterance
from asr_core.evaluation import Evaluation, evaluate
from asr_core.features import LogMel
from asr_core.models import Encoded, build_encoder
from asr_core.text import Alphabet
from asr_core.training.config import TrainingConfig
from asr_core.training.state import StateError, load_state, save_state

SAVE_EVERY_S = 180.0
STATE = "state.safetensors"


class TrainingRun:
    """One run in one folder: OUT/last, OUT/best (checkpoints), OUT/state.safetensors, OUT/tensorboard.

    Made again over the same folder it continues where it stopped, bit for bit on a CPU.
    """

    def __init__(
        self,
        config: TrainingConfig,
        train: Sequence[Utterance],
        valid: Sequence[Utterance],
        out: Path,
        *,
        init_from: str | None = None,
        workers: int = 1,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.set_flush_denormal(True)  # without it an LSTM slows down fourfold once its gates saturate
        self.config, self.train_utterances, self.valid_utterances, self.out = config, train, valid, out
        self.workers = workers
        self.alphabet = Alphabet()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.log_mel = LogMel(config.features)
        self.encoder = build_encoder(config.encoder).to(self.device)
        if init_from:
            start = checkpoint.load(init_from)
            if start.features != config.features:
                raise CheckpointError(f"{init_from} hears with other features than this preset. Choose its preset.")
            try:
                self.encoder.load_state_dict(start.encoder.state_dict())
            except RuntimeError as error:
                raise CheckpointError(
                    f"{init_from} holds another encoder than this preset trains. Choose its preset."
                ) from error
        self.averaged = copy.deepcopy(self.encoder).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.encoder.parameters(), lr=config.max_lr, weight_decay=config.weight_decay, fused=True
        )
        self.batches_of_epoch = [self.batches(epoch) for epoch in range(config.epochs)]
        self.total_steps = sum(map(len, self.batches_of_epoch))
        warmup = min(0.9, max(config.warmup, 2 / self.total_steps))  # OneCycleLR divides by the steps of the warm-up
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.max_lr, self.total_steps, pct_start=warmup, anneal_strategy="linear"
        )
        self.progress = {"epoch": 0, "batch": 0, "step": 0, "best_wer": None, "skipped": {}, "trained_s": 0.0, "history": []}
        if (out / STATE).exists():
            self.resume()
        self.doctor = doctor.watch(self.encoder, blank=self.alphabet.blank, say=tqdm.write, steps_done=self.progress["step"])

    def batches(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.config.seed * 10_007 + epoch)
        return bucket(self.train_utterances, self.config.batch_size, self.config.batch_s, generator)

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        return {"encoder": self.encoder, "averaged": self.averaged}

    def save(self) -> None:
        numbers = {
            "config": self.config.as_dict(),
            "utterances": len(self.train_utterances),
            "progress": self.progress,
            "schedule": {"last_epoch": self.schedule.last_epoch, "step_count": self.schedule._step_count},
        }
        save_state(self.out / STATE, self.modules, self.optimiser, numbers)

    def resume(self) -> None:
        numbers = load_state(self.out / STATE, self.modules, self.optimiser)
        config = json.loads(json.dumps(self.config.as_dict()))  # tuples as lists, as they were saved
        differing = [key for key in config if config[key] != numbers["config"].get(key)]
        if differing or numbers["utterances"] != len(self.train_utterances):
            what = ", ".join(differing) or "the training data"
            raise StateError(f"{self.out} holds a run with other settings ({what}). Repeat them, or choose another --out.")
        self.progress = numbers["progress"]
        self.schedule.last_epoch = numbers["schedule"]["last_epoch"]
        self.schedule._step_count = numbers["schedule"]["step_count"]

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)

    def run(self, max_minutes: float = math.inf) -> bool:
        """Train to the end, or for `max_minutes`, or until Ctrl-C; the state is saved either way.

        Returns True when every epoch is done.
        """
        self.deadline = time.monotonic() + 60 * max_minutes
        with SummaryWriter(self.out / "tensorboard", purge_step=self.progress["step"]) as writer, self.interruptible():
            while self.progress["epoch"] < self.config.epochs:
                if not self.run_epoch(writer) or (self.stopping and self.progress["epoch"] < self.config.epochs):
                    self.save()
                    return False
        return True

    @property
    def stopping(self) -> bool:
        return time.monotonic() > self.deadline

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C moves the deadline to now, so that a batch is never half done; a second Ctrl-C stops at once."""

        def stop(*_: object) -> None:
            tqdm.write("Stopping after this batch ...")
            self.deadline = -math.inf
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def run_epoch(self, writer: SummaryWriter) -> bool:
        """The rest of the current epoch, and its validation. Returns False when the deadline came first."""
        epoch, config = self.progress["epoch"], self.config
        dataset = SpeechDataset(
            self.train_utterances,
            self.log_mel,
            self.alphabet,
            self.encoder.output_lengths,
            config.augmentation,
            seed=config.seed * 1_000 + epoch,
            with_phones=max(config.phone_weight) > 0,
        )
        todo = self.batches_of_epoch[epoch][self.progress["batch"] :]
        self.encoder.train()
        saved = time.monotonic()
        bar = tqdm(loader(dataset, todo, self.workers), f"epoch {epoch + 1}/{config.epochs}", unit="batch", mininterval=5)
        for batch in bar:
            started = time.monotonic()
            for skipped in batch if isinstance(batch, tuple) else batch.skipped:
                self.report(skipped)
            if isinstance(batch, Batch):
                loss, norm = self.step(batch)
                bar.set_postfix(loss=f"{loss:.3f}", lr=f"{self.schedule.get_last_lr()[0]:.1e}", refresh=False)
                writer.add_scalar("train/loss", loss, self.progress["step"])
                writer.add_scalar("train/gradient_norm", norm, self.progress["step"])
                writer.add_scalar("train/lr", self.schedule.get_last_lr()[0], self.progress["step"])
            self.schedule.step()
            self.progress["batch"] += 1
            self.progress["step"] += 1
            self.progress["trained_s"] += time.monotonic() - started
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
            if self.stopping:
                return False
        self.validate(writer)
        return True

    def report(self, skipped: Skipped) -> None:
        if skipped.id not in self.progress["skipped"]:
            tqdm.write(f"Skipped {skipped.id}: {skipped.reason}")
        self.progress["skipped"][skipped.id] = skipped.reason

    def step(self, batch: Batch) -> tuple[float, float]:
        """One update. Returns the CTC loss in nats a character, and the gradient norm before clipping."""
        with self.autocast():
            encoded = self.encoder(batch.features.to(self.device), batch.feature_lengths.to(self.device))
        log_probs = encoded.logits.float().log_softmax(-1)  # (B, T', V)
        losses = self.character_losses(log_probs, encoded.lengths, batch)  # (B,)
        characters = int(batch.target_lengths.sum())
        loss = losses.sum() / characters
        total = loss
        if weight := self.phone_weight():
            total = (1 - weight) * loss + weight * self.phone_loss(encoded, batch)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.clip))
        seen = (log_probs.transpose(0, 1), batch.targets, encoded.lengths, batch.target_lengths, losses)
        ids = [utterance.id for utterance in batch.utterances]
        self.doctor.step(*seen, ids=ids, durations=batch.feature_lengths, gradient_norm=norm)
        if math.isfinite(norm):
            self.optimiser.step()
            self.average()
        else:
            tqdm.write(f"Step {self.progress['step']}: the gradient is {norm}; this update was left out.")
        return float(loss.detach()), norm

    def character_losses(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """log_probs (B, T', V), lengths (B,) -> (B,)."""
        targets, target_lengths = batch.targets.to(self.device), batch.target_lengths.to(self.device)
        ids = [utterance.id for utterance in batch.utterances]
        return self.ctc_losses(log_probs, targets, lengths, target_lengths, self.alphabet.blank, ids)

    def ctc_losses(
        self, log_probs: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor, blank: int, ids: Sequence[str]
    ) -> Tensor:
        """As ctc.ctc_loss, but what it refuses raises CtcError with the Doctor's diagnosis, which names the utterance."""
        try:
            return ctc.ctc_loss(log_probs, targets, lengths, target_lengths, blank)
        except CtcError as error:
            tensors = (log_probs.transpose(0, 1), targets, lengths, target_lengths)
            errors = doctor.diagnose(*tensors, blank=blank, ids=ids, model=self.encoder).errors
            raise CtcError(" ".join(f"{finding.evidence} {finding.fix}" for finding in errors) or str(error)) from error

    def phone_loss(self, encoded: Encoded, batch: Batch) -> Tensor:
        """The CTC loss of the middle layer, in nats a phone, over the utterances that have a pronunciation that fits."""
        phones, lengths = batch.phones.to(self.device), batch.phone_lengths.to(self.device)
        usable = (lengths > 0) & (ctc.frames_needed(phones, lengths) <= encoded.lengths) if phones.shape[1] else lengths > 0
        if not usable.any():
            return encoded.logits.new_zeros((), dtype=torch.float32)
        log_probs = encoded.phone_logits.float().log_softmax(-1)[usable]  # (B', T', P)
        ids = [utterance.id for utterance, used in zip(batch.utterances, usable.tolist(), strict=True) if used]
        tensors = (log_probs, phones[usable], encoded.lengths[usable], lengths[usable])
        losses = self.ctc_losses(*tensors, PHONE_BLANK, ids)
        return losses.sum() / lengths[usable].sum()

    def phone_weight(self) -> float:
        first, last = self.config.phone_weight
        return first + (last - first) * self.progress["step"] / self.total_steps

    @torch.no_grad()
    def average(self) -> None:
        """averaged = decay * averaged + (1 - decay) * encoder; the decay grows in from 0, so the start is forgotten."""
        decay = min(self.config.ema_decay, self.progress["step"] / (self.progress["step"] + 10))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.encoder.parameters()), 1 - decay)

    def validate(self, writer: SummaryWriter) -> None:
        """Figures of the averaged weights on the validation set; the last and the best go to disk."""
        batches = evaluation_batches(
            self.valid_utterances, self.log_mel, self.alphabet, self.encoder.output_lengths, workers=self.workers
        )
        batches = tqdm(batches, "validation", unit="batch", leave=False, mininterval=5)
        evaluation = evaluate(self.averaged, batches, self.alphabet, self.autocast())
        progress = self.progress
        progress["epoch"] += 1
        progress["batch"] = 0
        figures = {"loss": evaluation.loss, "cer": evaluation.cer, "wer": evaluation.wer}
        progress["history"].append({"epoch": progress["epoch"], "minutes": round(progress["trained_s"] / 60, 1), **figures})
        for name, value in figures.items():
            writer.add_scalar(f"valid/{name}", value, progress["step"])
        self.show(evaluation)
        self.export(self.out / "last", figures)
        if progress["best_wer"] is None or evaluation.wer <= progress["best_wer"]:
            progress["best_wer"] = evaluation.wer
            self.export(self.out / "best", figures)
        self.save()

    def show(self, evaluation: Evaluation) -> None:
        tqdm.write(
            f"epoch {self.progress['epoch']}: validation loss {evaluation.loss:.3f} a character, CER {evaluation.cer:.3f}, "
            f"WER {evaluation.wer:.3f}, {len(self.progress['skipped'])} utterances skipped in training, "
            f"{self.progress['trained_s'] / 60:.0f} min"
        )
        for pair in evaluation.decoded[:: max(1, len(evaluation.decoded) // 3)][:3]:
            tqdm.write(f"  reference   {pair.reference}\n  hypothesis  {pair.hypothesis}")

    def export(self, folder: Path, figures: dict) -> None:
        training = {
            "config": self.config.as_dict(),
            "utterances": len(self.train_utterances),
            "hours": round(sum(utterance.duration_s for utterance in self.train_utterances) / 3600, 2),
            "epochs_done": self.progress["epoch"],
            "history": self.progress["history"],
        }
        Checkpoint(folder.name, self.averaged, self.config.features, self.alphabet, training, {"validation": figures}).save(
            folder
        )
