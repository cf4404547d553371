"""The nearest spelling that an alphabet has: numbers as words, accents off, symbols by name, punctuation away."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from asr_core.text import Alphabet, normalise

SYMBOLS = {"&": " and ", "%": " percent ", "@": " at ", "+": " plus ", "=": " equals "}
CURRENCIES = {"$": ("dollar", "dollars"), "€": ("euro", "euros"), "£": ("pound", "pounds")}
LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i"}
NUMBER = re.compile(r"([$€£]?)(\d+(?:,\d{3})*)(\.\d+)?(st\b|nd\b|rd\b|th\b)?([$€£]?)")
CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)\b")
MOST_DIGITS = 30  # beyond them numbers have no names


def suggest(text: str, alphabet: Alphabet) -> str:
    """`text` as the alphabet can spell it, as near as can be; what has no spelling is left out. May be empty."""
    text = spell_numbers(CLOCK.sub(r"\1 \2", normalise(text)))
    for symbol, name in SYMBOLS.items():
        text = text.replace(symbol, name)
    text = alphabet.normalise("".join(_spell(character, alphabet) for character in alphabet.normalise(text)))
    return "" if alphabet.unknown(text) else text


def spell_numbers(text: str) -> str:
    """Digits as words, with spaces around them: "the 21st" becomes "the  twenty first ", "$3" " three dollars "."""
    return NUMBER.sub(lambda match: f" {_say(match)} ", text)


def _spell(character: str, alphabet: Alphabet) -> str:
    """A character as the alphabet has it: itself, without its accents, or a space that parts what it stood between."""
    if alphabet.writes(character):
        return character
    plain = unicodedata.normalize("NFKD", LETTERS.get(character, character))  # é -> e and an accent of its own
    known = "".join(part for part in alphabet.normalise(plain) if alphabet.writes(part))
    if known or unicodedata.combining(character):
        return known
    return " "


def _say(match: re.Match) -> str:
    before, whole, fraction, ordinal, after = match.groups()
    if len(whole) > MOST_DIGITS:
        return match[0]
    number = int(whole.replace(",", ""))
    currency = before or after
    if ordinal and not fraction:
        words = num2words(number, to="ordinal")
    elif digits := (fraction or "")[1:].rstrip("0"):
        words = " ".join([num2words(number), "point", *(num2words(int(digit)) for digit in digits)])
    elif not currency and "," not in whole and 1100 <= number < 2100:
        words = num2words(number, to="year")
    else:
        words = num2words(number)
    if currency:
        words += " " + CURRENCIES[currency][number != 1 or fraction is not None]
    return words.replace("-", " ").replace(",", "")
