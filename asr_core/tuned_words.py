"""The language model of a checkpoint: where it lies, and how much a beam search heeds it with this recogniser.

It lies in the checkpoint's folder or, shared with other checkpoints, beside it. Tuning writes the weights into config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asr_core import language_model
from asr_core.files import readable
from asr_core.language_model import LanguageModel, LanguageModelError
from asr_core.settings import require_number, require_numbers
from asr_core.text import Alphabet
from asr_core.transaction import locate

FILE = "language_model.safetensors"
TUNED = ("weight", "word_bonus", "prior_weight", "prior", "phone_weight")
ONCE_UNKNOWN = {"prior_weight": 0.0, "prior": (), "phone_weight": 0.0}


def weights(words: LanguageModel) -> dict[str, object]:
    """What config.json has of it."""
    return {name: getattr(words, name) for name in TUNED}


def load(folder: Path, tuned: Mapping | None, alphabet: Alphabet, untuned: bool = False) -> LanguageModel | None:
    """The one in the folder. The one beside it where there is none, if config.json weighs one: any other folder might lie
    beside a stranger's file. Beside a folder that is a link means beside what it links to.

    tuned: what config.json has of it. untuned: look beside the folder also without that, in order to tune.
    Raises KeyError and ValueError, for a tuned checkpoint also if there is none.
    """
    words = _stored(folder, beside=untuned or tuned is not None)
    if words is None and tuned is None:
        return None
    if words is None:
        raise LanguageModelError(
            f"it was tuned, and there is no {FILE} in the folder or beside it. Copy that file into the folder, or delete "
            '"language_model" from its config.json to do without'
        )
    if tuned is not None:
        words = replace(words, **{name: (ONCE_UNKNOWN | tuned)[name] for name in TUNED})
    require_number(words, "weight", "prior_weight", "phone_weight", least=0, most=1_000)
    require_number(words, "word_bonus", least=-1_000, most=1_000)
    if words.prior not in ((), []):
        require_numbers(words, "prior", count=len(alphabet.labels), least=-1_000, most=0)
    if alphabet.space is None:
        raise ValueError("the alphabet has no space, so it spells no words")
    return replace(words, prior=tuple(words.prior))


def found(folder: Path) -> bytes | None:
    """The file that a tuned checkpoint in this folder, which need not be there yet, would use."""
    for path in _paths(folder):
        try:
            return readable(path, language_model.LARGEST).read_bytes()
        except FileNotFoundError:
            continue
        except OSError:  # it cannot be used
            return None
    return None


def _stored(folder: Path, beside: bool) -> LanguageModel | None:
    own, shared = _paths(folder)
    try:
        return language_model.load(own)
    except FileNotFoundError:
        if not beside:
            return None
    try:
        return language_model.load(shared)
    except FileNotFoundError:
        return None
    except LanguageModelError as error:
        raise LanguageModelError(f"beside the folder, {error}") from error


def _paths(folder: Path) -> tuple[Path, Path]:
    return locate(folder, FILE), folder.resolve().parent / FILE
