"""Text <-> token ids. The alphabet, its blank, and the one normalisation of transcripts."""

from __future__ import annotations

import reprlib
import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from asr_core.settings import require_text

MOST_TOKENS, LONGEST_LABEL = 1 << 16, 64  # a token id travels in 16 bits; a label is a letter, or at most a word

APOSTROPHES = "\u2018\u2019\u02bc\u0060\u00b4"  # what keyboards and typesetters put for '


class TextError(ValueError):
    """Text that the alphabet cannot spell; the message names the characters. suggestion: a spelling that it has, or ""."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


def normalise(text: str) -> str:
    """Lower case, one kind of apostrophe, single spaces. Nothing else is changed and nothing is dropped."""
    for apostrophe in APOSTROPHES:
        text = text.replace(apostrophe, "'")
    return " ".join(text.lower().split())


@dataclass(frozen=True)
class Alphabet:
    """The tokens of a CTC model, in the order of its outputs.

    labels: V strings, one for each output, the blank's included.
    blank: index of the blank, which belongs to no text.
    """

    labels: tuple[str, ...] = ("'", " ", *string.ascii_lowercase, "<blank>")
    blank: int = 28

    def __post_init__(self) -> None:
        if not isinstance(self.labels, tuple) or len(self.labels) > MOST_TOKENS:
            raise ValueError(f"The labels of an alphabet are a list of at most {MOST_TOKENS:,} texts.")
        for label in self.labels:
            require_text(label, "A label", LONGEST_LABEL)
        if not isinstance(self.blank, int) or isinstance(self.blank, bool):
            raise ValueError(f"The blank is {reprlib.repr(self.blank)}; it must be the number of a token.")
        if not 0 <= self.blank < len(self.labels):
            raise ValueError(f"The blank is token {self.blank}, but the tokens are 0 to {len(self.labels) - 1}.")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("An alphabet names every token once; this one repeats a label.")

    @classmethod
    def of_json(cls, values: dict) -> Alphabet:
        """From what JSON makes of its fields. Raises KeyError, TypeError or ValueError."""
        labels = values["labels"]
        return cls(tuple(labels) if isinstance(labels, list) else labels, values["blank"])

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels) if index != self.blank}

    def unknown(self, text: str) -> tuple[str, ...]:
        """The distinct characters of `text`, in order of appearance, that this alphabet cannot spell."""
        return tuple(dict.fromkeys(character for character in text if character not in self._ids))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, one a character. Raises TextError naming every character that has no token."""
        if unknown := self.unknown(text):
            named = ", ".join(f"{character!r}" for character in unknown)
            raise TextError(
                f"The alphabet has no token for {named} in {text[:60]!r}. "
                "It spells with its own letters only: write numbers and symbols as words."
            )
        return [self._ids[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids that have already been collapsed. Raises TextError if the blank is among them,
        or a token that the alphabet does not have."""
        ids = [int(index) for index in ids]
        if outside := [index for index in ids if not 0 <= index < len(self.labels)]:
            raise TextError(f"Token {outside[0]} is outside the alphabet, whose tokens are 0 to {len(self.labels) - 1}.")
        if self.blank in ids:
            raise TextError(f"Token {self.blank} is the blank and has no text: collapse the path before decoding it.")
        return "".join(self.labels[index] for index in ids)
