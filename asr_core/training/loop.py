"""The training loop: one-cycle optimisation of the CTC loss, validated every epoch, safe to interrupt at any moment, in one
process or in many."""

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
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from asr_core import checkpoint, doctor, origin, replay, whisper
from asr_core.checkpoint import Checkpoint, CheckpointError
from asr_core.data.batches import Batch, Skipped, SpeechDataset, bucket, evaluation_batches, loader
from asr_core.data.utterances import Utterance
from asr_core.evaluation import Evaluation, evaluate
from asr_core.features import LogMel
from asr_core.models import build_encoder
from asr_core.text import Alphabet
from asr_core.training import processes
from asr_core.training.config import TrainingConfig
from asr_core.training.losses import Costs, costs
from asr_core.training.recorder import Recorder
from asr_core.training.schedule import build_optimisers, one_cycle, set_rate
from asr_core.training.state import StateError, load_state, save_state

SAVE_EVERY_S = 180.0
STATE = "state.safetensors"


class TrainingRun:
    """One run in one folder: OUT/last, OUT/best (checkpoints), OUT/state.safetensors, OUT/tensorboard,
    OUT/replay.safetensors (what it made of three clips, from the first step on).

    Made again over the same folder it continues where it stopped, in one process on a CPU bit for bit.
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
        device: torch.device | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.set_flush_denormal(True)  # without it an LSTM slows down fourfold once its gates saturate
        self.config, self.train_utterances, self.valid_utterances, self.out = config, train, valid, out
        self.workers, self.device = workers, device or torch.device("cpu")
        self.alphabet = Alphabet()
        self.log_mel = LogMel(config.features)
        self.encoder = build_encoder(config.encoder).to(self.device)
        start = self.start_from(init_from) if init_from else None
        self.averaged = copy.deepcopy(self.encoder).requires_grad_(False)
        self.optimisers = build_optimisers(
            config.optimiser, self.encoder, config.max_lr, config.weight_decay, config.head_rate
        )
        self.progress = {"epoch": 0, "batch": 0, "step": 0, "best_wer": None, "skipped": {}, "trained_s": 0.0, "history": []}
        self.progress[origin.KEY] = origin.begun_with(init_from, start.training if start else {}) if init_from else ""
        if (out / STATE).exists():
            self.resume()
        if processes.rank():  # the first process has the run's own random state; the others draw other dropout
            torch.manual_seed(config.seed + 1_000_003 * processes.rank() + self.progress["step"])
        self.batches = self.batches_of(self.progress["epoch"])
        self.deadline = math.inf
        if processes.is_first():
            told = start.replay if start else None
            self.recorder = Recorder(out / replay.FILE, valid, self.log_mel, self.alphabet, self.encoder, told)
        self.doctor = doctor.watch(self.encoder, blank=self.alphabet.blank, say=tqdm.write, steps_done=self.progress["step"])

    def start_from(self, source: str) -> Checkpoint | None:
        """The checkpoint whose weights the encoder has from now on; None of a Whisper, which gives what it has of them."""
        if whisper.is_named(source):
            whisper.load(self.encoder, self.config.features, source)
            return None
        start = checkpoint.load(source)
        if start.features != self.config.features:
            raise CheckpointError(f"{source} hears with other features than this preset. Choose its preset.")
        try:
            self.encoder.load_state_dict(start.encoder.state_dict())
        except RuntimeError as error:
            raise CheckpointError(f"{source} holds another encoder than this preset trains. Choose its preset.") from error
        return start

    def batches_of(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.config.seed * 10_007 + epoch)
        return bucket(self.dataset(epoch).durations_s(), self.config.batch_size, self.config.batch_s, generator)

    @property
    def fraction(self) -> float:
        """How much of the training is done, 0 to 1."""
        return (self.progress["epoch"] + self.progress["batch"] / len(self.batches)) / self.config.epochs

    @property
    def phone_weight(self) -> float:
        first, last = self.config.phone_weight
        return first + (last - first) * self.fraction

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        return {"encoder": self.encoder, "averaged": self.averaged}

    def save(self) -> None:
        if processes.is_first():
            numbers = {
                "config": self.config.as_dict(),
                "utterances": len(self.train_utterances),
                "progress": self.progress,
            }
            save_state(self.out / STATE, self.modules, self.optimisers, numbers)

    def resume(self) -> None:
        numbers = load_state(self.out / STATE, self.modules, self.optimisers)
        config = json.loads(json.dumps(self.config.as_dict()))  # tuples as lists, as they were saved
        before = json.loads(json.dumps(TrainingConfig(config["encoder"]).as_dict()))  # of settings that were unknown then
        for name, value in numbers["config"].items():
            before[name] = {**before[name], **value} if name in ("features", "augmentation") else value
        differing = [key for key in config if config[key] != before[key]]
        if differing or numbers["utterances"] != len(self.train_utterances):
            what = ", ".join(differing) or "the training data"
            raise StateError(f"{self.out} holds a run with other settings ({what}). Repeat them, or choose another --out.")
        self.progress |= numbers["progress"]

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)

    def run(self, max_minutes: float = math.inf) -> bool:
        """Train to the end, or for `max_minutes`, or until Ctrl-C or SIGTERM; the state is saved either way.

        Returns True when every epoch is done. Raises processes.ProcessLost.
        """
        processes.share_first(self.encoder.state_dict().values())
        self.deadline = time.monotonic() + 60 * max_minutes
        writing = SummaryWriter(self.out / "tensorboard", purge_step=self.progress["step"]) if processes.is_first() else None
        with writing or contextlib.nullcontext() as writer, self.interruptible():
            while self.progress["epoch"] < self.config.epochs:
                if not self.run_epoch(writer) or (self.asked_to_stop() and self.progress["epoch"] < self.config.epochs):
                    self.save()
                    return False
        return True

    def asked_to_stop(self) -> bool:
        """Whether the time is up in any of the processes."""
        return bool(processes.add_up([time.monotonic() > self.deadline], self.device)[0])

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C, or the SIGTERM of a scheduler or of torchrun, moves the deadline to now, so that a batch is never half
        done; the same once more stops at once."""

        def stop(number: int, _frame: object) -> None:
            if processes.is_first():
                tqdm.write("Stopping after this batch ...")
            self.deadline = -math.inf
            signal.signal(number, before[number])

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
        # Not when a process was lost: torchrun then ends the others with SIGTERM, and they have yet to say what happened.
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])

    def run_epoch(self, writer: SummaryWriter | None) -> bool:
        """The rest of the current epoch, and its validation. Returns False when the deadline came first."""
        epoch, config, progress = self.progress["epoch"], self.config, self.progress
        todo = [processes.part(batch) for batch in self.batches[progress["batch"] :]]
        self.encoder.train()
        saved = time.monotonic()
        bar = tqdm(
            self.loader(epoch, todo),
            f"epoch {epoch + 1}/{config.epochs}",
            unit="batch",
            mininterval=5,
            disable=not processes.is_first(),
        )
        for batch in bar:
            started = time.monotonic()
            if writer and progress["step"] in self.recorder.first_steps:
                self.recorder.record(self.averaged, progress["step"], self.fraction * config.epochs)
            for skipped in batch.skipped if isinstance(batch, Batch) else batch:
                self.report(skipped)
            rate = one_cycle(self.fraction, config.warmup)
            set_rate(self.optimisers, config.max_lr, rate)
            loss, norm, stopping = self.step(batch if isinstance(batch, Batch) else None)
            if writer and loss is not None:
                bar.set_postfix(loss=f"{loss:.3f}", lr=f"{config.max_lr * rate:.1e}", refresh=False)
                writer.add_scalar("train/loss", loss, progress["step"])
                writer.add_scalar("train/gradient_norm", norm, progress["step"])
                writer.add_scalar("train/lr", config.max_lr * rate, progress["step"])
            progress["batch"] += 1
            progress["step"] += 1
            progress["trained_s"] += time.monotonic() - started
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
            if stopping:
                return False
        self.validate(writer)
        return True

    def dataset(self, epoch: int) -> SpeechDataset:
        """The training utterances as that pass has them."""
        config = self.config
        return SpeechDataset(
            self.train_utterances,
            self.log_mel,
            self.alphabet,
            self.encoder.output_lengths,
            config.augmentation,
            seed=config.seed * 1_000 + epoch,
            with_phones=max(config.phone_weight) > 0,
            views=2 if config.consistency else 1,
        )

    def loader(self, epoch: int, batches: list[list[int]]) -> DataLoader:
        return loader(self.dataset(epoch), batches, self.workers)

    def report(self, skipped: Skipped) -> None:
        if skipped.id not in self.progress["skipped"]:
            tqdm.write(f"Skipped {skipped.id}: {skipped.reason}")
        self.progress["skipped"][skipped.id] = skipped.reason

    def step(self, batch: Batch | None) -> tuple[float | None, float, bool]:
        """One update from this process's part of a batch, which may be empty.

        Returns the CTC loss of the whole batch in nats a character (None when no process had any), the gradient norm
        before clipping, and whether to stop after it.
        """
        cost = None
        if batch:
            with_phones = max(self.config.phone_weight) > 0
            cost = costs(self.encoder, batch, self.alphabet.blank, with_phones, self.autocast())
        own = [float(cost.losses.detach().sum()), cost.characters, cost.phones] if cost else [0.0, 0, 0]
        loss, characters, phones, stopping = processes.add_up([*own, time.monotonic() > self.deadline], self.device)
        if not characters:
            return None, 0.0, bool(stopping)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        if cost:
            cost.total(characters, phones, self.phone_weight, self.config.consistency).backward()
        processes.add_gradients(self.encoder.parameters())
        norm = float(torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.clip))
        if cost:
            self.examine(batch, cost, norm)
        if math.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
            self.average()
        else:
            tqdm.write(f"Step {self.progress['step']}: the gradient is {norm}; this update was left out.")
        return loss / characters, norm, bool(stopping)

    def examine(self, batch: Batch, cost: Costs, norm: float) -> None:
        self.doctor.step(
            cost.log_probs.transpose(0, 1),
            batch.targets,
            self.encoder.output_lengths(batch.feature_lengths),
            batch.target_lengths,
            cost.losses,
            ids=[utterance.id for utterance in batch.utterances],
            durations=batch.feature_lengths,
            gradient_norm=norm,
        )

    @torch.no_grad()
    def average(self) -> None:
        """averaged = decay * averaged + (1 - decay) * encoder; the decay grows in from 0, so the start is forgotten."""
        decay = min(self.config.ema_decay, self.progress["step"] / (self.progress["step"] + 10))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.encoder.parameters()), 1 - decay)

    def validate(self, writer: SummaryWriter | None) -> None:
        """Figures of the averaged weights on the validation set; the last and the best go to disk."""
        batches = evaluation_batches(
            self.valid_utterances,
            self.log_mel,
            self.alphabet,
            self.encoder.output_lengths,
            workers=self.workers,
            share=processes.part,
        )
        shown = {"unit": "batch", "leave": False, "mininterval": 5, "disable": not processes.is_first()}
        model = Checkpoint("averaged", self.averaged, self.config.features, self.alphabet)
        own = evaluate(model, tqdm(batches, "validation", **shown), self.autocast())
        evaluation = Evaluation.joined(processes.gather(own))
        progress = self.progress
        for skipped in processes.gather(progress["skipped"]):
            progress["skipped"] |= skipped
        progress["epoch"] += 1
        progress["batch"] = 0
        figures = {"loss": evaluation.loss, "cer": evaluation.cer, "wer": evaluation.wer}
        progress["history"].append({"epoch": progress["epoch"], "minutes": round(progress["trained_s"] / 60, 1), **figures})
        better = progress["best_wer"] is None or evaluation.wer <= progress["best_wer"]
        progress["best_wer"] = evaluation.wer if better else progress["best_wer"]
        if progress["epoch"] < self.config.epochs:
            self.batches = self.batches_of(progress["epoch"])
        if writer:
            for name, value in figures.items():
                writer.add_scalar(f"valid/{name}", value, progress["step"])
            self.show(evaluation)
            self.recorder.record(self.averaged, progress["step"], progress["epoch"])
            for name in ("last", "best") if better else ("last",):
                self.export(self.out / name, figures)
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
            origin.KEY: self.progress[origin.KEY],
            "utterances": len(self.train_utterances),
            "hours": round(sum(utterance.duration_s for utterance in self.train_utterances) / 3600, 2),
            "epochs_done": self.progress["epoch"],
            "history": self.progress["history"],
        }
        Checkpoint(
            folder.name,
            self.averaged,
            self.config.features,
            self.alphabet,
            training,
            {"validation": figures},
            replay=self.recorder.replay,
        ).save(folder)
