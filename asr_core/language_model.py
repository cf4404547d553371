"""A word trigram with backoff: its probabilities and its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from asr_core.files import readable
from asr_core.transaction import write_one

BITS = 16  # of a word id
BOUNDARY, UNKNOWN, SPECIAL = 0, 1, 2  # ids: the start and end of a sentence, any other word, and the first of the words
LAST = (1 << BITS) - 1  # of a key: its last word
RANGE = (-18.0, 2.0)  # of the logarithms of probabilities and backoff weights, which are stored in 8 bits
STEP = (RANGE[1] - RANGE[0]) / 255
LARGEST = 64 * 1024**2  # bytes of a file, which becomes ten times as much memory: seven times the one that is shipped
LARGEST_TRIE = 1 << 26  # letters of all words times distinct letters: what looking ahead takes, in 4 bytes each
TYPES = {"words": np.uint8, "one": np.uint8, "one_backoff": np.uint8, "two_sizes": np.uint16, "two_words": np.uint16}
TYPES |= {"two": np.uint8, "two_backoff": np.uint8, "three_sizes": np.uint16, "three_words": np.uint16, "three": np.uint8}


class LanguageModelError(ValueError):
    """A language model that cannot be read or made; the message says why."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A backoff trigram over words in alphabetical order; word i has id i + SPECIAL.

    one, one_backoff: (V,) of each id. pair_keys: (N2,) sorted, context id << 16 | id; two, two_backoff: (N2,).
    triple_keys: (N3,) sorted, index of the context among the pairs << 16 | id; three: (N3,). All are natural logarithms.
    weight, word_bonus: how much a beam search heeds it, beside log-probabilities of the sound: weight * ln p + word_bonus
    for each word. prior, prior_weight: ln of the share of all frames that the recogniser gives to each of its tokens, (V,),
    and how much of it every frame loses; none when empty. phone_weight: how much the phones of a text
    count, where the recogniser hears phones (rescoring). All five are tuned with a recogniser, so they are stored with it.
    """

    words: tuple[str, ...]
    one: np.ndarray
    one_backoff: np.ndarray
    pair_keys: np.ndarray
    two: np.ndarray
    two_backoff: np.ndarray
    triple_keys: np.ndarray
    three: np.ndarray
    weight: float = 1.0
    word_bonus: float = 0.0
    prior_weight: float = 0.0
    prior: tuple[float, ...] = ()
    phone_weight: float = 0.0

    @classmethod
    def of_probabilities(cls, words: Sequence[str], *arrays: np.ndarray) -> LanguageModel:
        """The same fields as the class, with probabilities in place of their logarithms."""
        one, one_backoff, pair_keys, two, two_backoff, triple_keys, three = arrays
        logs = [np.log(values).astype(np.float32) for values in (one, one_backoff, two, two_backoff, three)]
        return cls(tuple(words), logs[0], logs[1], pair_keys, logs[2], logs[3], triple_keys, logs[4])

    @cached_property
    def id_of(self) -> dict[str, int]:
        return {word: index + SPECIAL for index, word in enumerate(self.words)}

    def log_probs(self, pairs: np.ndarray, previous: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln p(word | the two before it) -> (N,) float32, and the index of the new last pair, -1 when it is not kept.

        pairs: (N,) index of the last two words among the kept pairs, or -1; previous: (N,) the last word; words: (N,).
        """
        result = self.one_backoff[previous] + self.one[words]
        pair, found = _find(self.pair_keys, previous << BITS | words)
        result[found] = self.two[pair[found]]
        seen = pairs >= 0
        result[seen] += self.two_backoff[pairs[seen]]
        triple, known = _find(self.triple_keys, pairs << BITS | words)  # a negative key is never found
        result[known] = self.three[triple[known]]
        return result, np.where(found, pair, -1)

    def word_log_probs(self, words: Sequence[str]) -> list[float]:
        """ln p of each word of a sentence, and of its end."""
        ids = [self.id_of.get(word, UNKNOWN) for word in words] + [BOUNDARY]
        result, pair, previous = [], np.array([-1]), np.array([BOUNDARY])
        for word in ids:
            log_prob, pair = self.log_probs(pair, previous, np.array([word]))
            previous = np.array([word])
            result.append(float(log_prob[0]))
        return result

    def save(self, path: Path) -> None:
        """Write it atomically, alone or into a checkpoint. Raises LanguageModelError if load would refuse its size."""
        data = self.to_bytes()
        if len(data) > LARGEST or not _fit(self.words):
            raise LanguageModelError(
                f"This language model is too large to be used: {len(data) / 1e6:.0f} MB, {len(self.words):,} words. "
                "Keep fewer words, bigrams or trigrams."
            )
        write_one(path, data)

    def to_bytes(self) -> bytes:
        """A safetensors file of the words and their log-probabilities, in 8 bits."""
        tensors = {
            "words": np.frombuffer("\n".join(self.words).encode(), np.uint8),
            "one": _to_bytes(self.one),
            "one_backoff": _to_bytes(self.one_backoff),
            "two_sizes": np.bincount(self.pair_keys >> BITS, minlength=len(self.one)).astype(np.uint16),
            "two_words": (self.pair_keys & LAST).astype(np.uint16),
            "two": _to_bytes(self.two),
            "two_backoff": _to_bytes(self.two_backoff),
            "three_sizes": np.bincount(self.triple_keys >> BITS, minlength=len(self.two)).astype(np.uint16),
            "three_words": (self.triple_keys & LAST).astype(np.uint16),
            "three": _to_bytes(self.three),
        }
        return save_tensors(tensors)


def load(path: Path) -> LanguageModel:
    """Read what LanguageModel.save wrote; the weights are the checkpoint's to say.

    Raises FileNotFoundError, or LanguageModelError for a file that is none.
    """
    try:
        tensors = load_tensors(readable(path, LARGEST).read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LanguageModelError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # the last three for types that numpy lacks
        raise LanguageModelError(f"{path.name} is not a safetensors file, or is damaged: {error}.") from error
    if missing := TYPES.keys() - tensors.keys():
        raise LanguageModelError(f"{path.name} is not a language model: it lacks {', '.join(sorted(missing))}.")
    for name, dtype in TYPES.items():
        if tensors[name].dtype != dtype or tensors[name].ndim != 1:
            found = f"{tensors[name].dtype} with {tensors[name].ndim} dimensions"
            raise LanguageModelError(f"{path.name}: {name} is {found}; it should be {np.dtype(dtype)} with one.")
    try:
        words = tuple(tensors["words"].tobytes().decode().split("\n"))
    except UnicodeDecodeError as error:
        raise LanguageModelError(f"{path.name}: its words are not UTF-8 text.") from error
    if not _fit(words):
        raise LanguageModelError(f"{path.name}: its words have too many letters, and too many different ones, to be used.")
    keys = [_keys(tensors[f"{order}_sizes"], tensors[f"{order}_words"]) for order in ("two", "three")]
    if not _belong_together(words, tensors, keys):
        raise LanguageModelError(f"{path.name} contradicts itself: its words, pairs and triples do not belong together.")
    logs = {name: _to_logs(tensors[name]) for name in ("one", "one_backoff", "two", "two_backoff", "three")}
    return LanguageModel(words=words, pair_keys=keys[0], triple_keys=keys[1], **logs)


def _fit(words: Sequence[str]) -> bool:
    """Whether a beam search has the memory to look ahead in them."""
    letters = "".join(words)
    return len(letters) * (len(set(letters)) + 1) <= LARGEST_TRIE


def _belong_together(words: tuple[str, ...], tensors: dict[str, np.ndarray], keys: list[np.ndarray]) -> bool:
    size, pairs, triples = len(words) + SPECIAL, len(tensors["two_words"]), len(tensors["three_words"])
    lengths = {"one": size, "one_backoff": size, "two_sizes": size, "two": pairs, "two_backoff": pairs}
    lengths |= {"three_sizes": pairs, "three": triples}
    return (
        size <= LAST + 1
        and all(words)
        and list(words) == sorted(set(words))
        and all(len(tensors[name]) == length for name, length in lengths.items())
        and [len(each) for each in keys] == [pairs, triples]
        and all((np.diff(each) > 0).all() and (each & LAST < size).all() for each in keys)
    )


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of each wanted key among the sorted keys, whether it is there)."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return index, keys[index] == wanted


def _keys(sizes: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Successors listed context by context -> sorted keys; none when the sizes do not add up to the successors."""
    if int(sizes.sum(dtype=np.int64)) != len(last):
        return np.zeros(0, np.int64)
    return np.repeat(np.arange(len(sizes)), sizes) << BITS | last


def _to_bytes(logs: np.ndarray) -> np.ndarray:
    return np.rint((np.clip(logs, *RANGE) - RANGE[0]) / STEP).astype(np.uint8)


def _to_logs(stored: np.ndarray) -> np.ndarray:
    return (RANGE[0] + STEP * stored).astype(np.float32)
