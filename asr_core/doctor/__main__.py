"""The page of the rules: python -m asr_core.doctor > docs/doctor.md"""

from __future__ import annotations

from asr_core.doctor import RULES
from asr_core.doctor.evidence import Evidence
from asr_core.doctor.rules import Rule

HEAD = """# The Doctor: how CTC training goes wrong

The rules of `asr_core.diagnose`, `asr_core.watch` and `python -m asr_core diagnose`. This page is made from them:
`python -m asr_core.doctor > docs/doctor.md`. A rule that lacks what it needs is skipped, and the report says so. Where one
mistake would set off several rules, the others stand back. S is the number of tokens of a text, R how many of them equal the
one before, T frames, B utterances, V tokens.

Three numbers come with every diagnosis:

- **The loss to expect at the first step**, of uniform log-probabilities: T ln V − ln binom(T + S − R, 2S) an utterance.
- **The ignores-the-audio ratio**: the loss, divided by the loss with every frame replaced by the mean posterior. Near 1 the
  audio is ignored. Below 0.8 it is used, even if the text is still empty: wait.
- **The texts that cannot fit**: those with S + R greater than their frames."""


def section(each: Rule) -> str:
    lines = [
        f"## {each.number}. {each.name}",
        f"**What it does.** {each.effect}",
        f"**How it is found.** {each.documentation}",
    ]
    if each.needs:
        lines.append("**It needs** " + ", or ".join(Evidence.NEEDS[need] for need in each.needs) + ".")
    lines.append(f"**Fix.** {each.fix}")
    if each.link:
        lines.append(f"**Seen in** <{each.link}>")
    return "\n\n".join(lines)


def page() -> str:
    return "\n\n".join([HEAD, *(section(RULES[number]) for number in sorted(RULES))]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
