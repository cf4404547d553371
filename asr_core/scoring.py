"""Words as they are said, however they are written: what is compared of a reference and of each recogniser's text.

Ours writes "mister smith paid twenty dollars", others "Mr. Smith paid $20.": both go through the same published normaliser.
"""

from __future__ import annotations

from collections.abc import Callable

from asr_core.benchmark import installed
from asr_core.spelling import spell_numbers

PACKAGE = "whisper-normalizer"


def normaliser() -> Callable[[str], str]:
    """Whisper's for English (Radford et al. 2022, arXiv 2212.04356, appendix C), with its digits spelled out again.

    It makes digits of number words, so that "eighteen seventy one" is one word for it; spelled out, a number counts as the
    words that were said.
    Raises BenchmarkError.
    """
    installed(PACKAGE, "A comparison of word errors")
    from whisper_normalizer.english import EnglishTextNormalizer  # here, since it is optional

    standard = EnglishTextNormalizer()
    return lambda text: " ".join(spell_numbers(standard(text)).split())
