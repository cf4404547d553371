"""From log-probabilities to text: greedy decoding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from asr_core.emission import Emission
from asr_core.text import Alphabet

DECODERS = {
    "greedy": "the most probable token of each frame",
    "beam": "the text whose paths together are most probable, in the light of the checkpoint's language model",
}


def collapse(path: Sequence[int], blank: int) -> list[int]:
    """CTC's many-to-one map B: merge runs of one token, then drop the blanks. "ll" needs a blank between its l's."""
    return [token for token, _ in groupby(path) if token != blank]


def greedy_path(emission: Emission) -> tuple[int, ...]:
    """The most probable token of each frame, (T',)."""
    return tuple(emission.log_probs.argmax(-1).tolist())


def greedy_decode(log_probs: Tensor, lengths: Tensor, alphabet: Alphabet) -> list[str]:
    """The text of each utterance's most probable path. log_probs (B, T', V), or logits; lengths (B,)."""
    paths = log_probs.argmax(-1).tolist()  # (B, T')
    return [
        " ".join(alphabet.decode(collapse(path[:length], alphabet.blank)).split())
        for path, length in zip(paths, lengths.tolist(), strict=True)
    ]
