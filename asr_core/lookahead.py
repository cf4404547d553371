"""A word language model, asked letter by letter: what a beam search adds to the sound's score while a text grows.

The words form a trie of letters. A prefix is credited with the likeliest word that it may become (look-ahead), and the
guess is replaced by the trigram's probability when the word ends. What leaves the trie is an unknown word, which costs
ln p(unknown) and a uniform share for each of its letters, so every text has a probability.

A recogniser expects the tokens that were frequent in its training, and the language model expects them again: what the
first says of a frame is divided by a power of the tokens' prior (the simplest of the internal language models that Yang et
al. 2025 compare, arXiv 2506.06096).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from os.path import commonprefix

import numpy as np

from asr_core.language_model import BOUNDARY, SPECIAL, UNKNOWN, LanguageModel
from asr_core.text import Alphabet

ROOT, AWAY = 1, 0  # nodes: no letter yet; a spelling that begins no word


@dataclass(frozen=True, eq=False)
class TextStates:
    """What K growing texts are to the language model: the trie node of the last word's letters (K,), the last whole word
    (K,), and the index of the last two whole words among the kept pairs, or -1, (K,)."""

    node: np.ndarray
    previous: np.ndarray
    pair: np.ndarray

    def __getitem__(self, index: np.ndarray) -> TextStates:
        return TextStates(self.node[index], self.previous[index], self.pair[index])

    @staticmethod
    def join(*parts: TextStates) -> TextStates:
        return TextStates(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("node", "previous", "pair"))
        )


class Lookahead:
    """The language model of one alphabet, weighted; made once, holds nothing of a search between calls."""

    def __init__(self, model: LanguageModel, alphabet: Alphabet) -> None:
        self.model = model
        if alphabet.space is None:
            raise ValueError("A language model of words needs a token that parts words, and this alphabet has none.")
        self.space = alphabet.space
        letters = sorted(set("".join(model.words)))
        column = {letter: index for index, letter in enumerate(letters)}
        # The last column of `child` is for every letter that no word has.
        self.columns = np.array([column.get(label, len(letters)) for label in alphabet.labels])  # (V,)
        self._grow(column)

    def _grow(self, column: dict[str, int]) -> None:
        """The trie: child (nodes, letters + 1); word, guess, leaving, ending (nodes,)."""
        word, depth, edges = [UNKNOWN, UNKNOWN], [0, 0], []  # of AWAY and ROOT; edges: parent, letter, child
        stack, before = [ROOT], ""
        for index, text in enumerate(self.model.words):  # in alphabetical order: what is shared with the last is there
            shared = len(commonprefix((text, before)))
            del stack[shared + 1 :]
            for letter in text[shared:]:
                edges.append((stack[-1], column[letter], len(word)))
                stack.append(len(word))
                word.append(UNKNOWN)
                depth.append(len(stack) - 1)
            word[stack[-1]], before = SPECIAL + index, text
        self.word = np.array(word)
        parents, letters, children = np.array(edges).T
        self.child = np.full((len(word), len(column) + 1), AWAY, np.int32)
        self.child[parents, letters] = children

        # ln p of the likeliest word below each node; what leaving the trie here adds; what ending a word here adds.
        best = np.where(self.word == UNKNOWN, -np.inf, self.model.one[self.word]).tolist()
        for parent, _, node in reversed(edges):  # a child comes after its parent
            best[parent] = max(best[parent], best[node])
        best[ROOT] = best[AWAY] = 0.0  # no guess before the first letter, nor of an unknown word
        unknown, letter_cost = float(self.model.one[UNKNOWN]), math.log(len(column) + 1)  # + 1: the end of a word
        self.guess = np.array(best, np.float32)
        spelled = (np.array(depth) + 1) * letter_cost
        self.leaving = (unknown - spelled - self.guess).astype(np.float32)
        self.leaving[AWAY] = -letter_cost
        self.ending = (np.where(self.word == UNKNOWN, -spelled, 0.0) - self.guess).astype(np.float32)
        self.ending[AWAY] = -letter_cost - unknown

    @property
    def expected(self) -> np.ndarray:
        """What each token (V,) loses in every frame before it is added to a text's score; 0 where there is no prior."""
        return self.model.prior_weight * np.array(self.model.prior or 0, np.float32)

    def weighted(self, **weights: object) -> Lookahead:
        """The same words with other weights, or another prior: the fields of LanguageModel that these are."""
        other = copy(self)
        other.model = replace(self.model, **weights)
        return other

    def start(self, after: Sequence[str] = ()) -> TextStates:
        """Of one empty text, at the beginning of a sentence or after some words."""
        previous, pair = np.array([BOUNDARY]), np.array([-1])
        for word in after[-2:]:
            following = np.array([self.model.id_of.get(word, UNKNOWN)])
            _, pair = self.model.log_probs(pair, previous, following)
            previous = following
        return TextStates(np.array([ROOT]), previous, pair)

    def additions(self, states: TextStates) -> np.ndarray:
        """(K, V): what each token that follows adds to a text's score; the blank's column means nothing."""
        child = self.child[states.node][:, self.columns]  # (K, V)
        away = self.leaving[states.node][:, None]
        added = np.where(child == AWAY, away, self.guess[child] - self.guess[states.node][:, None])
        added *= self.model.weight
        added[:, self.space] = self._word_ends(states)[0]
        return added

    def follow(self, states: TextStates, tokens: np.ndarray) -> TextStates:
        """(K,) states -> those after one more token each; tokens (K,)."""
        ends = tokens == self.space
        pair = states.pair.copy()
        pair[ends] = self._word_ends(states[ends])[1]
        node = np.where(ends, ROOT, self.child[states.node, self.columns[tokens]])
        return TextStates(node, np.where(ends, self.word[states.node], states.previous), pair)

    def conclusions(self, states: TextStates) -> np.ndarray:
        """(K,): what it adds to end the text here: the end of its last word, if it has begun, and of the sentence."""
        begun = states.node != ROOT
        added, pair = self._word_ends(states)
        previous = np.where(begun, self.word[states.node], states.previous)
        pair = np.where(begun, pair, states.pair)
        end = self.model.log_probs(pair, previous, np.full(len(pair), BOUNDARY))[0]
        return np.where(begun, added, 0.0) + self.model.weight * end

    def _word_ends(self, states: TextStates) -> tuple[np.ndarray, np.ndarray]:
        """(K,) what a space adds, -inf where no word has begun, and the pair that it completes."""
        log_prob, pair = self.model.log_probs(states.pair, states.previous, self.word[states.node])
        added = self.model.weight * (log_prob + self.ending[states.node]) + self.model.word_bonus
        return np.where(states.node == ROOT, -np.inf, added), pair
