"""Writes the replay of a training while it runs: what the averaged weights make of three fixed clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from asr_core import audio, replay
from asr_core.ctc import ctc_loss, frames_needed
from asr_core.data.utterances import Utterance
from asr_core.features import LogMel
from asr_core.models import Encoder
from asr_core.replay import Replay, Snapshot
from asr_core.text import Alphabet, TextError

CLIPS = 3
SHORTEST_S, LONGEST_S = 2.5, 6.0
FIRST_STEPS = (0, 25, 50, 100, 200, 400, 800)  # beside every epoch: the plateau of blanks ends early


class Recorder:
    """One replay in one file; made again over the same file it goes on.

    before: the replay of the training whose weights this one starts from. It is kept, and steps and passes are counted on
    from its last snapshot: a model that was trained in parts has all of them in its replay.
    """

    def __init__(
        self,
        path: Path,
        utterances: Sequence[Utterance],
        log_mel: LogMel,
        alphabet: Alphabet,
        encoder: Encoder,
        before: Replay | None = None,
    ) -> None:
        self.path, self.log_mel, self.alphabet = path, log_mel, alphabet
        if path.exists():
            self.replay = replay.load(path)
        elif before and before.snapshots and before.alphabet == alphabet:
            self.replay = replace(before, earlier=len(before.snapshots))
        else:
            self.replay = self.begin(utterances, encoder)

    @property
    def first_steps(self) -> Sequence[int]:
        """Steps at whose begin a snapshot is worth while: none of a model that has learned before."""
        return () if self.replay.earlier else FIRST_STEPS

    def begin(self, utterances: Sequence[Utterance], encoder: Encoder) -> Replay:
        """Of clips spread over the corpus that are neither short nor long and whose text fits."""
        config = self.log_mel.config
        fitting = [each for each in utterances if SHORTEST_S <= each.duration_s <= LONGEST_S] or list(utterances)
        clips: list[tuple[Utterance, torch.Tensor]] = []
        for utterance in [*fitting[:: max(1, len(fitting) // CLIPS)], *fitting]:
            try:
                samples = audio.load(utterance.path, config.sample_rate)
                targets = torch.tensor([self.alphabet.encode(utterance.text)])
            except (audio.AudioError, TextError):
                continue
            if targets.shape[1] == 0 or utterance in [clip for clip, _ in clips]:
                continue
            frames = encoder.output_lengths(self.log_mel.output_lengths(len(samples)))
            needed = frames_needed(targets, torch.tensor([targets.shape[1]]))
            if int(needed) <= frames:
                clips.append((utterance, replay.as_int16(samples)))
            if len(clips) == CLIPS:
                break
        return Replay(
            config,
            self.alphabet,
            config.frame_s * encoder.subsampling,
            tuple(clip.id for clip, _ in clips),
            tuple(clip.text for clip, _ in clips),
            tuple(samples for _, samples in clips),
        )

    @torch.no_grad()
    def record(self, encoder: Encoder, step: int, epoch: float) -> None:
        """Append a snapshot of these weights, after so many steps and passes of this training; none is taken twice."""
        if self.replay.earlier:
            before = self.replay.snapshots[self.replay.earlier - 1]
            step, epoch = before.step + step, before.epoch + epoch
        if any(snapshot.step == step for snapshot in self.replay.snapshots) or not self.replay.names:
            return
        device, was_training = next(encoder.parameters()).device, encoder.training
        encoder.eval()
        log_probs, losses, characters = [], 0.0, 0
        for clip, text in enumerate(self.replay.texts):
            features = torch.from_numpy(self.replay.sound(clip).features).to(device)  # (T, M)
            logits = encoder(features.T[None, None], torch.tensor([len(features)], device=device)).logits
            log_probs.append(logits[0].float().log_softmax(-1).cpu())  # (T', V)
            targets = torch.tensor([self.alphabet.encode(text)])
            lengths = torch.tensor([len(log_probs[-1])]), torch.tensor([targets.shape[1]])
            losses += float(ctc_loss(log_probs[-1][None], targets, *lengths, self.alphabet.blank))
            characters += targets.shape[1]
        encoder.train(was_training)
        self.replay = self.replay.with_snapshot(Snapshot(step, round(epoch, 3), round(losses / characters, 4)), log_probs)
        self.replay.save(self.path)
