"""Viterbi: the most probable of all paths that spell a text, exactly, whatever ties there are and whatever is impossible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Lattice:
    """The paths that spell a text: a row of N states, through which a path walks from left to right, a frame at a time.

    A path stays in its state, goes on to the next, or passes over one into a state that `skips`.
    tokens (N,): what each state says in a frame. skips (N,): bool. starts, ends (N,): bool, where paths may begin and end.
    spelled (L,): the state of each token of the text.
    """

    tokens: np.ndarray
    skips: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    spelled: np.ndarray

    @classmethod
    def of_text(cls, text: Sequence[int], blank: int) -> Lattice:
        """CTC's, for L tokens: a blank before, between and behind them, each of which may be left out but for one between
        equal tokens (Graves et al. 2006, section 4.1). A blank in the text counts as a token that says the same."""
        tokens = np.full(2 * len(text) + 1, blank)
        tokens[1::2] = text
        skips, starts, ends = np.zeros((3, len(tokens)), bool)
        skips[3::2] = tokens[3::2] != tokens[1:-2:2]
        starts[:2], ends[-2:] = True, True
        return cls(tokens, skips, starts, ends, np.arange(1, len(tokens), 2))


def best_path(log_probs: np.ndarray, lattice: Lattice) -> tuple[int, ...] | None:
    """The path (T',) of the greatest sum of log_probs (T', V), T' at least 1; None where all paths have a probability of
    zero. Of several that are equally probable, always the same one.

    Takes a byte for each frame and state.
    """
    steps = np.empty((len(log_probs), len(lattice.tokens)), np.uint8)
    for frame, found in enumerate(_forward(log_probs, lattice)):
        scores, steps[frame] = found
    closing = np.where(lattice.ends, scores, -np.inf)
    if not closing.max() > -np.inf:
        return None
    state = int(closing.argmax())
    states = []
    for back in steps[::-1]:
        states.append(state)
        state -= int(back[state])
    return tuple(lattice.tokens[states[::-1]].tolist())


def last_reached(log_probs: np.ndarray, lattice: Lattice) -> np.ndarray:
    """(N,): the last frame in which a path of finite probability is in each state; -1 where none ever is."""
    last = np.full(len(lattice.tokens), -1)
    for frame, (scores, _) in enumerate(_forward(log_probs, lattice)):
        last[scores > -np.inf] = frame
    return last


def _forward(log_probs: np.ndarray, lattice: Lattice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each frame: the log-probability of the best way into each state (N,), and how many states back it came from (N,).

    In float64: a float32 sum over some thousand frames is off by more than what parts one path from the next.
    """
    barrier = np.where(lattice.skips, 0.0, -np.inf)[2:]
    scores, back = np.where(lattice.starts, 0.0, -np.inf), np.zeros(len(lattice.tokens), np.uint8)
    for frame, said in enumerate(log_probs):
        if frame:
            best, back = scores.copy(), np.zeros_like(back)
            for step, entering in ((1, scores[:-1]), (2, scores[:-2] + barrier)):
                np.maximum(back[step:], np.uint8(step) * (entering > best[step:]), out=back[step:])
                np.maximum(best[step:], entering, out=best[step:])
            scores = best
        scores += said.take(lattice.tokens)
        yield scores, back
