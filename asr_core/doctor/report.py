"""What the Doctor says: findings, what was not looked at and why, and the three numbers nobody prints."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import asdict, dataclass
from enum import Enum

WIDTH = 100  # characters of a line in a terminal


class Severity(str, Enum):
    """error: training cannot work, or works on something else. warning: it loses by it. note: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One mistake. rule: its number in docs/doctor.md. evidence: what was seen, in numbers. effect: what it does to
    training. fix: one line. link: the thread where somebody had it, or ""."""

    rule: int
    name: str
    severity: Severity
    evidence: str
    effect: str
    fix: str
    link: str


@dataclass(frozen=True)
class Diagnosis:
    """findings: the worst first. skipped: (rule, name, why it was not applied).
    utterances: B. infeasible: utterances whose text needs more frames than they have.
    expected_initial_loss: nats a character of an untrained model on this batch; None where no text fits.
    loss: nats a character of this batch, as torch computes it; None where it cannot be computed.
    ignores_audio_ratio: that loss divided by the loss of a model that says the same in every frame, whatever it hears:
    near 1 the audio is ignored, below 0.8 it is used. None where log_probs holds no log-probabilities.
    blank_rate: part of all frames whose most probable token is the blank.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[tuple[int, str, str], ...]
    utterances: int
    infeasible: int
    expected_initial_loss: float | None
    loss: float | None
    ignores_audio_ratio: float | None
    blank_rate: float | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)

    @property
    def healthy(self) -> bool:
        """No finding, but for notes."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)

    def as_dict(self) -> dict:
        """For JSON: what is not a finite number is None."""
        numbers = {name: value for name, value in asdict(self).items() if name not in ("findings", "skipped")}
        return {
            "healthy": self.healthy,
            **{name: value if value is None or math.isfinite(value) else None for name, value in numbers.items()},
            "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in self.findings],
            "skipped": [{"rule": rule, "name": name, "reason": reason} for rule, name, reason in self.skipped],
        }

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2)

    def __str__(self) -> str:
        lines = [self.verdict, ""]
        for finding in self.findings:
            lines.append(f"{finding.severity.value.upper()}  {finding.name}  (rule {finding.rule})")
            lines += _wrapped("seen", finding.evidence) + _wrapped("so", finding.effect) + _wrapped("fix", finding.fix)
            lines += [f"  link  {finding.link}"] * bool(finding.link) + [""]
        lines += [f"{name:<34}{value}" for name, value in self.figures]
        if self.skipped:
            reasons: dict[str, list[str]] = {}
            for rule, _, reason in self.skipped:
                reasons.setdefault(reason, []).append(str(rule))
            lines += ["", "Not looked at:"]
            for why, rules in reasons.items():
                told = f"rule{'s' * (len(rules) > 1)} {', '.join(rules)}: needs {why}"
                lines += textwrap.wrap(told, WIDTH, initial_indent="  ", subsequent_indent=" " * 8)
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """Healthy or not, in a sentence."""
        utterances = f"{self.utterances} utterance{'s' * (self.utterances > 1)}"
        if not self.findings:
            return f"Healthy: {utterances}, nothing found."
        counts = [(sum(f.severity is severity for f in self.findings), severity.value) for severity in Severity]
        told = ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count)
        return f"{'Healthy' if self.healthy else 'Not healthy'}: {told} in a batch of {utterances}."

    @property
    def figures(self) -> tuple[tuple[str, str], ...]:
        """(name, value with its unit) of each number."""

        def shown(value: float | None, unit: str) -> str:
            return "cannot be computed" if value is None else f"{value:.2f}{unit}"

        return (
            ("Loss to expect at the first step", shown(self.expected_initial_loss, " nats a character")),
            ("Loss of this batch", shown(self.loss, " nats a character")),
            ("Ignores-the-audio ratio", shown(self.ignores_audio_ratio, "  (near 1: ignored, below 0.8: used)")),
            ("Texts that cannot fit", f"{self.infeasible} of {self.utterances}"),
            ("Frames where the blank is best", shown(self.blank_rate, "")),
        )


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {head:<4}  ", subsequent_indent=" " * 8, break_long_words=False)
