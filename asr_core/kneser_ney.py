"""Text -> a trigram language model: interpolated modified Kneser-Ney counts, pruned to the size that ships.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section 3; the pruning is the
weighted difference of Seymore and Rosenfeld 1996, "Scalable Backoff Language Models".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

import numpy as np

from asr_core.language_model import BITS, BOUNDARY, LAST, SPECIAL, UNKNOWN, LanguageModel, LanguageModelError


def estimate(sentences: Iterable[str], vocabulary: int, bigrams: int, trigrams: int) -> LanguageModel:
    """sentences, normalised, words between single spaces -> the model of their `vocabulary` most frequent words.

    bigrams, trigrams: how many are kept, those whose loss would cost the text's probability most; a bigram that is the
    context of a kept trigram is kept as well.
    """
    words, ids = _encode(list(sentences), vocabulary)
    pair_keys, pair_counts = np.unique(_join(ids[:-1], ids[1:]), return_counts=True)
    inside = ids[1:-1] != BOUNDARY  # no trigram reaches over the end of a sentence
    triple_keys, triple_counts = np.unique(
        _join(_join(ids[:-2][inside], ids[1:-1][inside]), ids[2:][inside]), return_counts=True
    )
    size = len(words) + SPECIAL

    # The lower orders count in how many contexts a word was seen, not how often; a sentence's start has no context.
    continued = np.bincount(np.searchsorted(pair_keys, _tail(triple_keys)), minlength=len(pair_keys))  # of (b, c)
    pair_continuations = np.where(_head(pair_keys) == BOUNDARY, pair_counts, continued)
    word_continuations = np.bincount(_last(pair_keys), minlength=size)

    uniform = np.full(size, 1 / size)
    one = _interpolated(word_continuations, np.zeros(size, np.int64), uniform)[0]
    two, two_rest = _interpolated(pair_continuations, _head(pair_keys), one[_last(pair_keys)])
    lower = two[np.searchsorted(pair_keys, _tail(triple_keys))]
    three, three_rest = _interpolated(triple_counts, _head(triple_keys), lower)

    kept = _worth_most(triple_counts * np.log(three / (three_rest * lower)), trigrams)
    triple_keys, three = triple_keys[kept], three[kept]
    kept = _worth_most(pair_counts * np.log(two / (two_rest * one[_last(pair_keys)])), bigrams)
    kept |= np.isin(pair_keys, _head(triple_keys))
    pair_keys, two = pair_keys[kept], two[kept]

    one_backoff = _backoff(two, one[_last(pair_keys)], _head(pair_keys), size)
    contexts = np.searchsorted(pair_keys, _head(triple_keys))
    lower = _looked_up(_tail(triple_keys), pair_keys, two, one, one_backoff)
    two_backoff = _backoff(three, lower, contexts, len(pair_keys))
    return LanguageModel.of_probabilities(
        words, one, one_backoff, pair_keys, two, two_backoff, _join(contexts, _last(triple_keys)), three
    )


def perplexity(model: LanguageModel, sentences: Iterable[str]) -> float:
    """Of the words and the sentence ends; an unknown word costs what all unknown words cost, without its letters."""
    total, count = 0.0, 0
    for sentence in sentences:
        log_probs = model.word_log_probs(sentence.split())
        total, count = total + sum(log_probs), count + len(log_probs)
    if not count:
        raise LanguageModelError("There is no sentence to measure the perplexity of.")
    return float(np.exp(-total / count))


def _encode(sentences: list[str], vocabulary: int) -> tuple[tuple[str, ...], np.ndarray]:
    """(the words, in alphabetical order; the ids of the whole text, a boundary before, between and after sentences)."""
    counts = Counter(chain.from_iterable(sentence.split() for sentence in sentences))
    if not counts:
        raise LanguageModelError("There is no word in the text. A language model is made of sentences, one a line.")
    # Of equally frequent words the alphabetically first are kept, so that the same text gives the same model.
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary]
    words = tuple(sorted(frequent))
    id_of = {word: SPECIAL + index for index, word in enumerate(words)}
    ids = chain.from_iterable(
        chain((id_of.get(word, UNKNOWN) for word in sentence.split()), (BOUNDARY,)) for sentence in sentences if sentence
    )
    return words, np.fromiter(chain((BOUNDARY,), ids), np.int64)


def _join(head: np.ndarray, last: np.ndarray) -> np.ndarray:
    return head << BITS | last


def _head(keys: np.ndarray) -> np.ndarray:
    return keys >> BITS


def _last(keys: np.ndarray) -> np.ndarray:
    return keys & LAST


def _tail(triple_keys: np.ndarray) -> np.ndarray:
    """The last two words of three."""
    return triple_keys & (1 << 2 * BITS) - 1


def _interpolated(counts: np.ndarray, contexts: np.ndarray, lower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(probability of each n-gram, share that its context leaves to the lower order).

    counts of n-grams sorted by context; contexts: any id of the context, equal ids adjacent; lower: their lower-order
    probability. An n-gram counted n times loses D_n (D_3 from three times on), which is what the lower order shares.
    """
    discount = _discounts(counts)[np.minimum(counts, 3)]
    starts = np.flatnonzero(np.r_[True, contexts[1:] != contexts[:-1]])
    sizes = np.diff(np.r_[starts, len(contexts)])
    totals = np.add.reduceat(counts, starts).astype(float)
    rest = np.repeat(np.add.reduceat(discount, starts) / totals, sizes)
    return (counts - discount) / np.repeat(totals, sizes) + rest * lower, rest


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D_0 to D_3 from the counts of counts (Chen and Goodman, equation 26); half a count where a text is too small."""
    n = [np.count_nonzero(counts == value) for value in range(5)]
    discounts = [0.0]
    for count in (1, 2, 3):
        formula = count - (count + 1) * (n[1] / (n[1] + 2 * n[2])) * n[count + 1] / n[count] if n[count] and n[1] else 0.0
        discounts.append(formula if 0 < formula < count else 0.5)
    return np.array(discounts)


def _worth_most(worth: np.ndarray, number: int) -> np.ndarray:
    """(N,) of bool: the `number` largest that are positive."""
    kept = worth > 0
    if np.count_nonzero(kept) > number:
        kept &= worth > np.partition(worth, len(worth) - number - 1)[len(worth) - number - 1]
    return kept


def _backoff(higher: np.ndarray, lower: np.ndarray, contexts: np.ndarray, size: int) -> np.ndarray:
    """(size,): what each context multiplies the lower order with, so that its probabilities sum to one."""
    kept_higher = np.bincount(contexts, higher, minlength=size)
    kept_lower = np.bincount(contexts, lower, minlength=size)
    return np.maximum(1 - kept_higher, 1e-6) / np.maximum(1 - kept_lower, 1e-6)


def _looked_up(keys: np.ndarray, pair_keys: np.ndarray, two: np.ndarray, one: np.ndarray, backoff: np.ndarray) -> np.ndarray:
    """Bigram probabilities of `keys` in the pruned model."""
    index = np.minimum(np.searchsorted(pair_keys, keys), len(pair_keys) - 1)
    return np.where(pair_keys[index] == keys, two[index], backoff[_head(keys)] * one[_last(keys)])
