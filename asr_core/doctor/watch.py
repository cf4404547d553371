"""watch: the Doctor in a training loop. It looks often at first, then less and less, and says each thing once.

A step on which there is nothing to do costs one comparison of the loss. The first batches and any loss that is negative or
not finite are examined; the gradient, the blanks and the ignores-the-audio ratio are measured at steps 25, 50, 100, 200 ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from asr_core.doctor.diagnosis import conclude
from asr_core.doctor.evidence import Evidence
from asr_core.doctor.models import PLATEAU_BLANKS, PLATEAU_STEPS
from asr_core.doctor.report import Diagnosis, Finding, Severity
from asr_core.doctor.rules import RULES
from asr_core.doctor.tensors import EvidenceError, as_tensor

FIRST_STEPS = 3  # examined each
FIRST_CHECK = 25  # steps; the next comes after as many again
CHECKED_UTTERANCES = 4  # of a batch: two CTC losses of each are what a check costs
NEGATIVE = -1e-2  # nats: a confident model's loss may be below 0 by rounding
USED = 0.8  # the ignores-the-audio ratio below which a model listens
EXPLODED = 1e4  # times the median gradient norm


def watch(
    model: nn.Module | None = None, *, blank: int = 0, say: Callable[[str], object] = print, steps_done: int = 0
) -> Watch:
    """doctor = watch(model, blank=0) before the loop, doctor.step(...) in it, after the loss.

    say: gets every sentence. steps_done: those of a run that goes on.
    """
    return Watch(model, blank, say, steps_done)


class Watch:
    """Remembers numbers and what it said; never a tensor of the caller's."""

    def __init__(self, model: nn.Module | None, blank: int, say: Callable[[str], object], steps_done: int) -> None:
        self.model, self.blank, self.say = model, blank, say
        self.start = self.steps = steps_done
        self.next_check = steps_done + FIRST_CHECK
        self.alarms = 0
        self.gradient_norms: list[float] = []
        self.said: set[object] = set()

    def step(
        self,
        log_probs: object,
        targets: object,
        input_lengths: object,
        target_lengths: object,
        loss: object,
        *,
        ids: Sequence[object] | None = None,
        durations: object = None,
        gradient_norm: float | None = None,
    ) -> Diagnosis | None:
        """After every loss of training: the tensors that the loss got, and the loss itself, not its .item().

        gradient_norm: where you have it; else it is measured, when the model has gradients. Returns the diagnosis of a step
        that was examined, else None. What the tensors hold never makes it raise: it says so instead.
        """
        step, self.steps = self.steps, self.steps + 1
        tensors = (log_probs, targets, input_lengths, target_lengths)
        try:
            return self._look(step, tensors, loss, ids, durations, gradient_norm)
        except EvidenceError as error:
            self._say(step, "stop", str(error))
        except Exception as error:  # no memory left, say: a training must not die of its doctor
            self._say(step, "check", f"the Doctor could not look at this step: {error}", "itself")
        return None

    def _look(
        self,
        step: int,
        tensors: tuple,
        loss: object,
        ids: Sequence[object] | None,
        durations: object,
        gradient_norm: float | None,
    ) -> Diagnosis | None:
        alarm, check = self._alarm(loss), step == self.next_check
        if check:
            self.next_check = 2 * step - self.start
        if not (alarm or check or step < self.start + FIRST_STEPS):
            return None
        facts = {"blank": self.blank, "step": step, "model": self.model}
        evidence = Evidence(*tensors, **facts, ids=ids, durations=durations, loss=loss)
        diagnosis = conclude(evidence, heavy=alarm)
        for finding in diagnosis.findings:
            self._report(step, finding)
        if alarm and diagnosis.healthy:
            told = "the loss is negative, but the CTC loss of this batch is not: another term is subtracted from it."
            self._say(step, "check", told)
        if check:
            self._judge_gradient(step, gradient_norm)
            if not diagnosis.errors:
                self._judge_progress(step, conclude(_few(evidence, facts)))
        return diagnosis

    def _alarm(self, loss: object) -> bool:
        """Negative or not finite, the 1st, 2nd, 4th, 8th ... time: a loss that stays so must not slow the training down."""
        least, most = torch.stack(as_tensor(loss, "loss").aminmax()).tolist()  # NaN if any is
        if least >= NEGATIVE and math.isfinite(most):
            return False
        self.alarms += 1
        return self.alarms & (self.alarms - 1) == 0

    def _report(self, step: int, finding: Finding) -> None:
        told = any(cause in self.said for cause in RULES[finding.rule].unless)  # NaN weights, say, that an inf loss has left
        if finding.severity is not Severity.NOTE and not told:
            word = "stop" if finding.severity is Severity.ERROR else "check"
            self._say(step, word, finding.evidence, finding.rule, f" (Rule {finding.rule}: {finding.name}.) {finding.fix}")

    def _judge_gradient(self, step: int, norm: float | None) -> None:
        norm = _gradient_norm(self.model) if norm is None else norm
        if norm is None:
            return
        usual = sorted(filter(math.isfinite, self.gradient_norms))
        if not math.isfinite(norm) and self.gradient_norms and not math.isfinite(self.gradient_norms[-1]):
            self._say(
                step, "stop", "the gradient is not finite, nor was it at the last look: no weight can be learnt from it."
            )
        elif len(usual) > 2 and math.isfinite(norm) and norm > EXPLODED * usual[len(usual) // 2]:
            told = f"the gradient norm is {norm:.3g} and usually {usual[len(usual) // 2]:.3g}: clip_grad_norm_ limits it."
            self._say(step, "wait", told, "gradient")
        self.gradient_norms.append(norm)

    def _judge_progress(self, step: int, diagnosis: Diagnosis) -> None:
        for finding in diagnosis.findings:
            if RULES[finding.rule].heavy:
                self._report(step, finding)
        ratio, blanks = diagnosis.ignores_audio_ratio, diagnosis.blank_rate
        if diagnosis.errors or ratio is None or blanks is None or blanks <= PLATEAU_BLANKS:
            return
        told = f"{blanks:.0%} of the frames are blanks, "
        if ratio < USED:
            told += f"but the audio is used already: the loss is {ratio:.2f} of that of a model that hears nothing."
            self._say(step, "wait", told, "used")
        else:
            told += f"which is how every CTC model begins: worry if it lasts beyond step {PLATEAU_STEPS:,}."
            self._say(step, "wait", told, "begins")

    def _say(self, step: int, word: str, reason: str, key: object = None, more: str = "") -> None:
        if (key or reason) not in self.said:
            self.said.add(key or reason)
            self.say(f"Doctor, step {step:,}: {word}, because {reason[0].lower()}{reason[1:]}{more}")


def _few(evidence: Evidence, facts: dict[str, object]) -> Evidence:
    """The first utterances: what is costly is measured on them."""
    few = slice(CHECKED_UTTERANCES)
    lengths = evidence.input_lengths[few], evidence.target_lengths[few]
    return Evidence(evidence.log_probs[:, few], evidence.targets[few], *lengths, **facts)


def _gradient_norm(model: nn.Module | None) -> float | None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None] if model is not None else []
    return float(torch.stack(torch._foreach_norm(gradients)).norm()) if gradients else None
