"""The registry of rules. A rule is one function: it looks at the evidence and returns what it found, or None.

Rules name the cause: where one mistake would set off several, the others stand back (`unless`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from asr_core.doctor.evidence import Evidence
from asr_core.doctor.report import Finding, Severity


@dataclass(frozen=True)
class Found:
    """What a rule returns. fix: in place of the rule's own, where the numbers allow a better one."""

    evidence: str
    severity: Severity = Severity.ERROR
    fix: str = ""


@dataclass(frozen=True)
class Rule:
    """needs: any one of these, see Evidence.NEEDS; empty when the tensors are enough. unless: rules whose finding explains
    this one's. heavy: computes CTC losses or runs the model."""

    number: int
    name: str
    check: Callable[[Evidence], Found | None]
    effect: str
    fix: str
    source: str
    needs: tuple[str, ...]
    unless: tuple[int, ...]
    heavy: bool

    @property
    def documentation(self) -> str:
        return " ".join(inspect.getdoc(self.check).split())

    @property
    def link(self) -> str:
        if "#" not in self.source:
            return self.source
        repository, thread = self.source.split("#")
        return f"https://github.com/{repository}/issues/{thread}"


RULES: dict[int, Rule] = {}


def rule(
    number: int,
    name: str,
    *,
    effect: str,
    fix: str,
    source: str = "",
    needs: tuple[str, ...] = (),
    unless: tuple[int, ...] = (),
    heavy: bool = False,
) -> Callable:
    """Registers a function as the rule of that number. Its docstring says what is looked for; source is ORG/REPO#N or a
    link."""

    def register(check: Callable[[Evidence], Found | None]) -> Callable[[Evidence], Found | None]:
        if number in RULES:
            raise ValueError(f"Rule {number} is registered twice.")
        RULES[number] = Rule(number, name, check, effect, fix, source, needs, unless, heavy)
        return check

    return register


class Examination:
    """Rules applied to evidence, each at most once, in the order in which they explain each other."""

    def __init__(self, evidence: Evidence, heavy: bool) -> None:
        self.evidence, self.heavy = evidence, heavy
        self._answers: dict[int, Found | None] = {}

    def answer(self, number: int) -> Found | None:
        if number not in self._answers:
            self._answers[number] = self._ask(RULES[number])
        return self._answers[number]

    def _ask(self, asked: Rule) -> Found | None:
        if self.reason_to_skip(asked) or any(self.explains(other) for other in asked.unless):
            return None
        return asked.check(self.evidence)

    def explains(self, number: int) -> bool:
        found = self.answer(number)
        return found is not None and found.severity is not Severity.NOTE

    def reason_to_skip(self, asked: Rule) -> str:
        missing = [need for need in asked.needs if not self.evidence.has(need)]
        if len(missing) < len(asked.needs) or not asked.needs:
            return ""
        return ", or ".join(self.evidence.NEEDS[need] for need in missing)

    @property
    def applied(self) -> Iterable[Rule]:
        return [RULES[number] for number in sorted(RULES) if self.heavy or not RULES[number].heavy]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        found = [
            Finding(each.number, each.name, answer.severity, answer.evidence, each.effect, answer.fix or each.fix, each.link)
            for each in self.applied
            if (answer := self.answer(each.number))
        ]
        return tuple(sorted(found, key=lambda finding: list(Severity).index(finding.severity)))

    @property
    def skipped(self) -> tuple[tuple[int, str, str], ...]:
        reasons = [(each.number, each.name, self.reason_to_skip(each)) for each in self.applied]
        return tuple(entry for entry in reasons if entry[2])
