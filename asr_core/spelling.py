"""The nearest spelling that an alphabet has: numbers as words, accents off, symbols by name, punctuation away."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from asr_core.text import Alphabet, normalise

SYMBOLS = {"&": " and ", "%": " percent ", "@": " at ", "+": " plus ", "=": " equals ", "€": " euros ", "£": " pounds "}
LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i"}
NUMBER = re.compile(r"(\$?)(\d[\d,]*)(\.\d+)?(st|nd|rd|th)?\b")


def suggest(text: str, alphabet: Alphabet) -> str:
    """`text` in the alphabet's own characters, as near as can be; what has no spelling is left out. May be empty."""
    text = NUMBER.sub(_say, normalise(text))
    for symbol, name in (SYMBOLS | LETTERS).items():
        text = text.replace(symbol, name)
    text = re.sub(r"[-‐-―/_]", " ", text)  # hyphens and dashes part words
    decomposed = unicodedata.normalize("NFKD", text)  # é -> e and an accent of its own, which is then unknown
    return normalise("".join(character for character in decomposed if not alphabet.unknown(character)))


def _say(match: re.Match) -> str:
    dollars, whole, fraction, ordinal = match.groups()
    if len(whole) > 30:  # beyond the names of numbers
        return match[0]
    number = int(whole.replace(",", ""))
    if ordinal and not fraction:
        words = num2words(number, to="ordinal")
    elif not fraction and "," not in whole and 1100 <= number < 2100:
        words = num2words(number, to="year")
    else:
        words = num2words(float(f"{number}{fraction}") if fraction else number)
    return words.replace("-", " ").replace(",", "") + (" dollars" if dollars else "")
