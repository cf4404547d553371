"""A diagnosis as Markdown. Whatever a file may have put into it is shown as text."""

from __future__ import annotations

from asr_core.doctor.report import Diagnosis, Finding
from asr_core.doctor.rules import RULES
from asr_core.page.plain import plain


def findings(diagnosis: Diagnosis) -> str:
    """The verdict and every finding, the worst first, for a place below a heading of the second rank."""
    return "\n\n".join([f"**{plain(diagnosis.verdict)}**", *map(_finding, diagnosis.findings)])


def report(diagnosis: Diagnosis) -> str:
    """The same with the numbers, and what was not looked at."""
    figures = [f"| {plain(name)} | {plain(value)} |" for name, value in diagnosis.figures]
    parts = [findings(diagnosis), "\n".join(["| The numbers | of this batch |", "|---|---|", *figures])]
    if diagnosis.skipped:
        skipped = [f"- Rule {rule}, {plain(name)}: needs {plain(reason)}" for rule, name, reason in diagnosis.skipped]
        parts += ["**Not looked at**", "\n".join(skipped)]
    return "\n\n".join(parts)


def _finding(found: Finding) -> str:
    lines = [
        f"### {found.severity.value.capitalize()}: {plain(found.name)}",
        f"- **Seen:** {plain(found.evidence)}",
        f"- **What it does:** {plain(found.effect)}",
        f"- **Fix:** {plain(found.fix)}",
        f"- **How it was found, rule {found.rule}:** {plain(RULES[found.rule].documentation)}",
    ]
    if found.link:
        lines.append(f"- **Seen in:** [{plain(found.link.removeprefix('https://'))}]({found.link})")
    return "\n".join(lines).replace("\n", "\n\n", 1)
