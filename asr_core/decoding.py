"""From log-probabilities to text: greedy decoding."""

from __future__ import annotations

from torch import Tensor

from asr_core.text import Alphabet


def collapse(path: list[int], blank: int) -> list[int]:
    """CTC's many-to-one map B: merge runs of the same token, then drop the blanks. "ll" needs a blank between its l's."""
    return [
        token for frame, token in enumerate(path) if token != blank and (frame == 0 or token != path[frame - 1])
    ]  # fmt: skip


def greedy_decode(log_probs: Tensor, lengths: Tensor, alphabet: Alphabet) -> list[str]:
    """The text of each utterance's most probable path. log_probs (B, T', V), or logits; lengths (B,)."""
    paths = log_probs.argmax(-1).tolist()  # (B, T')
    return [
        alphabet.decode(collapse(path[:length], alphabet.blank))
        for path, length in zip(paths, lengths.tolist(), strict=True)
    ]
