"""Prefix beam search: the text whose paths together are most probable, with or without a language model.

Hannun et al. 2014, "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs",
algorithm 1, with the loops over prefixes and tokens as array operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.alignment import forced_path
from asr_core.emission import Emission
from asr_core.lookahead import Lookahead, TextStates
from asr_core.rescoring import most_agreed

WIDTH = 256  # texts kept after each frame
PIECE_S = 4.0  # a longer recording is read in pieces
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the hash of a prefix loses nothing by the next token


@dataclass(frozen=True)
class Hypothesis:
    """tokens: collapsed, without blanks. log_prob: ln of the sum over every path of the tokens that the search kept, each
    frame less what a language model's prior expected. score: the same with the rest of its part; it ranks hypotheses."""

    tokens: tuple[int, ...]
    log_prob: float
    score: float


def beam_search(
    log_probs: np.ndarray,
    blank: int,
    language_model: Lookahead | None = None,
    width: int = WIDTH,
    after: Sequence[str] = (),
) -> list[Hypothesis]:
    """log_probs (T', V) -> the `width` best texts, best first. With a width that no frame exceeds, the search is exact.

    after: the words before, for the language model.
    """
    ids = np.arange(1, log_probs.shape[1] + 1, dtype=np.uint64)
    # K prefixes: ln of their paths that end in a blank and in their last token, and the language model's part.
    ends_blank, ends_token, added = np.zeros(1), np.full(1, -np.inf), np.zeros(1)
    last = np.array([blank])  # the last token; nothing repeats that of the empty prefix
    hashes, parents = np.zeros(1, np.uint64), np.array([np.iinfo(np.uint64).max])  # of the prefix; without its last token
    states = language_model.start(after) if language_model else None
    node, trail = np.zeros(1, np.int64), Trail()  # where the prefix is in the tree of all prefixes

    for frame in log_probs - language_model.expected if language_model else log_probs:
        total = np.logaddexp(ends_blank, ends_token)
        rows = np.arange(len(total))
        grown = total[:, None] + frame  # (K, V)
        grown[rows, last] = ends_blank + frame[last]  # a repeat of the last token needs a blank between
        grown[:, blank] = -np.inf
        stays_blank, stays_token = total + frame[blank], ends_token + frame[last]
        # A prefix that another one grows into is the same text: their paths are added up.
        order = hashes.argsort()
        place = order[np.minimum(np.searchsorted(hashes, parents, sorter=order), len(order) - 1)]
        known = hashes[place] == parents
        stays_token[known] = np.logaddexp(stays_token[known], grown[place[known], last[known]])
        grown[place[known], last[known]] = -np.inf

        heard = np.broadcast_to(added[:, None], grown.shape)
        if language_model:
            heard = heard + language_model.additions(states)
        stays = np.logaddexp(stays_blank, stays_token) + added
        stay, row, token = _survivors(stays, grown + heard, width)
        if not len(stay) + len(row):  # the language model forbids all that the sound allows, as two spaces in a row
            heard = np.broadcast_to(added[:, None], grown.shape)
            stay, row, token = _survivors(stays, grown + heard, width)

        if language_model:
            states = TextStates.join(states[stay], language_model.follow(states[row], token))
        node = np.concatenate([node[stay], trail.grow(node[row], token)])
        ends_blank = np.concatenate([stays_blank[stay], np.full(len(row), -np.inf)])
        ends_token = np.concatenate([stays_token[stay], grown[row, token]])
        added = np.concatenate([added[stay], heard[row, token]])
        parents = np.concatenate([parents[stay], hashes[row]])
        hashes = np.concatenate([hashes[stay], (hashes[row] + ids[token]) * _MULTIPLIER])
        last = np.concatenate([last[stay], token])

    log_prob = np.logaddexp(ends_blank, ends_token)
    score = log_prob + added + (language_model.conclusions(states) if language_model else 0.0)
    order = (-score).argsort(kind="stable")
    texts = trail.texts(node[order])
    return [Hypothesis(text, float(log_prob[i]), float(score[i])) for text, i in zip(texts, order, strict=True)]


def _survivors(stay: np.ndarray, grow: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `width` best of the prefixes that stay (K,) and those that grow (K, V): index, row, column."""
    scores = np.concatenate([stay, grow.ravel()])
    best = np.argpartition(-scores, width - 1)[:width] if len(scores) > width else np.arange(len(scores))
    best = best[scores[best] > -np.inf]
    growing = best[best >= len(stay)] - len(stay)
    return best[best < len(stay)], growing // grow.shape[1], growing % grow.shape[1]


def beam_text(emission: Emission, language_model: Lookahead | None = None) -> str:
    """The text of beam_path, without looking for the path."""
    alphabet = emission.alphabet
    texts = (alphabet.decode(tokens) for _, _, tokens in _pieces(emission, language_model, WIDTH, ()))
    return " ".join(("" if alphabet.space is None else " ").join(texts).split())


def beam_path(
    emission: Emission,
    language_model: Lookahead | None = None,
    width: int = WIDTH,
    after: Sequence[str] = (),
    progress: Callable[[float], None] | None = None,
) -> tuple[int, ...]:
    """The most probable path (T',) of the best text. after: the words before, for the language model. progress: called with
    the seconds that have been read, after each piece.

    A recording over PIECE_S is read in pieces: the texts that a search keeps to the end differ in their last words only, so
    there is more to choose from in shorter pieces. It is cut where a space is surest, in the last third of each piece; that
    frame stays a space where a word ends. In an alphabet without a space it is cut where the blank is surest. No frame is
    given a token whose probability is zero.
    """
    blank, space = emission.alphabet.blank, emission.alphabet.space
    path: list[int] = []
    for first, stop, tokens in _pieces(emission, language_model, width, after):
        if first:
            said = next((token for token in reversed(path) if token != blank), space)
            silent = space is None or said == space and bool(emission.log_probs[first - 1, blank] > -np.inf)
            path.append(blank if silent else space)
        path += forced_path(emission.between(first, stop), tokens) if tokens else [blank] * (stop - first)
        if progress:
            progress(len(path) * emission.frame_s)
    return tuple(path)


def _pieces(
    emission: Emission, language_model: Lookahead | None, width: int, after: Sequence[str]
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """(first frame, the frame behind the last, tokens) of each piece. Between two lies the frame that parts them."""
    alphabet, longest = emission.alphabet, max(3, round(PIECE_S / emission.frame_s))
    between = alphabet.blank if alphabet.space is None else alphabet.space
    parting = emission.log_probs[:, between].numpy()  # (T',)
    first = 0
    while True:
        stop, least = len(emission), first + longest * 2 // 3
        if stop - first > longest:
            stop = least + int(parting[least : first + longest].argmax())
            if parting[stop] == -np.inf:  # as in all of them: the piece goes on to the next frame that may part
                later = np.flatnonzero(parting[stop:] > -np.inf)
                stop = stop + int(later[0]) if len(later) else len(emission)
        tokens = _best_tokens(emission.between(first, stop), language_model, width, after)
        yield first, stop, tokens
        if stop == len(emission):
            return
        first, after = stop + 1, [*after, *alphabet.decode(tokens).split()][-2:]


def _best_tokens(piece: Emission, language_model: Lookahead | None, width: int, after: Sequence[str]) -> tuple[int, ...]:
    """The tokens of the best text, by the phones too where they count."""
    found = beam_search(piece.log_probs.numpy(), piece.alphabet.blank, language_model, width, after)
    weight = language_model.model.phone_weight if language_model and piece.phones is not None else 0.0
    if not weight or not len(piece):
        return found[0].tokens
    texts, scores = [piece.alphabet.decode(each.tokens) for each in found], [each.score for each in found]
    return found[most_agreed(texts, scores, piece.phones, weight)].tokens


class Trail:
    """The tree of every prefix that a search kept: nodes with a parent and a token; node 0 is the empty prefix."""

    def __init__(self) -> None:
        self.parents, self.added_tokens, self.size = [np.array([-1])], [np.array([-1])], 1

    def grow(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The new nodes (N,)."""
        self.parents.append(parents)
        self.added_tokens.append(tokens)
        self.size += len(tokens)
        return np.arange(self.size - len(tokens), self.size)

    def texts(self, nodes: np.ndarray) -> list[tuple[int, ...]]:
        """(N,) -> the tokens of each, from the first to the node's own."""
        parents, added = np.concatenate(self.parents).tolist(), np.concatenate(self.added_tokens).tolist()
        texts = []
        for node in nodes.tolist():
            backwards = []
            while node > 0:
                backwards.append(added[node])
                node = parents[node]
            texts.append(tuple(reversed(backwards)))
        return texts
