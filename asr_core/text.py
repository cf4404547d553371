"""Text <-> token ids. The alphabet, its blank, and how transcripts are normalised."""

from __future__ import annotations

import math
import re
import reprlib
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from asr_core.settings import require_text

MOST_TOKENS, LONGEST_LABEL = 1 << 16, 64  # a token id travels in 16 bits; a label is a letter, or at most a word

APOSTROPHES = "\u2018\u2019\u02bc\u0060\u00b4"  # what keyboards and typesetters put for '
WORD_MARK = "\u2581"  # with which SentencePiece begins the pieces that begin a word
SEPARATORS = ("|", "<space>", "[SPACE]")  # what toolkits call the token between words
SPECIAL = re.compile(r"<.*>|\[.*\]")  # <unk>, [PAD]: tokens that spell nothing anybody would type


class TextError(ValueError):
    """Text that the alphabet cannot spell; the message names the characters. suggestion: a spelling that it has, or ""."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


def normalise(text: str) -> str:
    """A transcript for our own trainings: lower case, one kind of apostrophe, single spaces. Nothing else is changed and
    nothing is dropped."""
    for apostrophe in APOSTROPHES:
        text = text.replace(apostrophe, "'")
    return " ".join(text.lower().split())


def written(labels: Sequence[str], blank: int) -> tuple[str, ...]:
    """The labels of another toolkit -> what each token writes, as Alphabet has them.

    The mark of SentencePiece is a space. Where neither it nor a space is in any label, one of SEPARATORS is the space. Where
    nothing parts words, and some labels have several characters, the tokens are phones, each written as a word of its own.
    """
    others = [label.replace(WORD_MARK, " ") or "<empty>" for index, label in enumerate(labels) if index != blank]
    if not any(" " in label for label in others):
        if separator := next((name for name in SEPARATORS if name in others), None):
            others[others.index(separator)] = " "
        elif any(len(label) > 1 and not SPECIAL.fullmatch(label) for label in others):
            others = [f" {label}" for label in others]
    return (*others[:blank], labels[blank] or "<blank>", *others[blank:])


@dataclass(frozen=True)
class Alphabet:
    """The tokens of a CTC model, in the order of its outputs.

    labels: V strings, one for each output: what the token writes, so that a text is its tokens' labels in a row. A space in
    front of a label begins a word: " " alone among letters, " he" among pieces of words, " AH" among phones.
    blank: index of the blank, which belongs to no text; its label is only a name.
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
        """Of the tokens that spell something."""
        return {
            label: index
            for index, label in enumerate(self.labels)
            if index != self.blank and not SPECIAL.fullmatch(label.strip(" "))
        }

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset("".join(self._ids))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._ids), default=0)

    @cached_property
    def space(self) -> int | None:
        """The token that parts words; None where there is none, or where the tokens that begin a word say so themselves."""
        return None if self.opens_words else self._ids.get(" ")

    @cached_property
    def opens_words(self) -> bool:
        """Whether words begin with tokens of their own, as with pieces of words and with phones."""
        return any(label.startswith(" ") and label.strip(" ") for label in self._ids)

    def normalise(self, text: str) -> str:
        """`text` as this alphabet writes: in its case where it has but one, with its apostrophe, words parted by single
        spaces, or by nothing where it has no space. Nothing else is changed."""
        letters = "".join(self._characters)
        if letters.upper() == letters != letters.lower():
            text = text.upper()
        elif letters.lower() == letters != letters.upper():
            text = text.lower()
        for apostrophe in APOSTROPHES:
            if apostrophe not in self._characters:
                text = text.replace(apostrophe, "'")
        return (" " if " " in self._characters else "").join(text.split())

    def writes(self, character: str) -> bool:
        """Whether a character is in any label that spells something."""
        return character in self._characters

    def unknown(self, text: str) -> tuple[str, ...]:
        """What this alphabet cannot spell of `text`, each once, in order of appearance: characters that are in no label, or,
        where there are none, words that no row of labels makes."""
        missing = [character for character in text if character not in self._characters]
        if not missing and self._longest > 1:
            missing = [word for word in text.split(" ") if word and self._fewest(self._led(word)) is None]
        return tuple(dict.fromkeys(missing))

    def encode(self, text: str) -> list[int]:
        """The fewest tokens that write `text`, of several ways the one with the longest tokens first: one a letter, where
        tokens are letters. (SentencePiece's own choice needs its model.) Raises TextError naming what has no token."""
        tokens = self._fewest(self._led(text))
        if tokens is None:
            named = ", ".join(f"{part!r}" for part in self.unknown(text) or [text[:60]])
            raise TextError(
                f"The alphabet has no token for {named} in {text[:60]!r}. "
                "It spells with its own letters only: write numbers and symbols as words."
            )
        return tokens

    def _led(self, text: str) -> str:
        """With the space that begins the first word, where tokens begin words."""
        return " " + text.lstrip(" ") if self.opens_words and text.strip(" ") else text

    def _fewest(self, text: str) -> list[int] | None:
        fewest: list[float] = [0.0] * (len(text) + 1)  # tokens from each character to the end
        first = [0] * len(text)  # characters of the first of them
        for start in reversed(range(len(text))):
            fewest[start] = math.inf
            for length in range(min(self._longest, len(text) - start), 0, -1):
                if fewest[start + length] + 1 < fewest[start] and text[start : start + length] in self._ids:
                    fewest[start], first[start] = fewest[start + length] + 1, length
        if fewest[0] == math.inf:
            return None
        tokens, start = [], 0
        while start < len(text):
            tokens.append(self._ids[text[start : start + first[start]]])
            start += first[start]
        return tokens

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids that have already been collapsed. Raises TextError if the blank is among them,
        or a token that the alphabet does not have."""
        ids = [int(index) for index in ids]
        if outside := [index for index in ids if not 0 <= index < len(self.labels)]:
            raise TextError(f"Token {outside[0]} is outside the alphabet, whose tokens are 0 to {len(self.labels) - 1}.")
        if self.blank in ids:
            raise TextError(f"Token {self.blank} is the blank and has no text: collapse the path before decoding it.")
        return "".join(self.labels[index] for index in ids)
