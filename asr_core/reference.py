"""A sentence that somebody typed, against the audio: where each letter lies, what it costs, how the model erred."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from asr_core.alignment import forced_path
from asr_core.ctc import ctc_loss
from asr_core.metrics import ErrorCounts, character_errors, word_errors
from asr_core.text import Alphabet, TextError
from asr_core.transcription import Transcription


@dataclass(frozen=True, eq=False)
class Reference:
    """The result of align.

    aligned: the text along its most probable path. heard: the model's own reading of the same audio.
    costs: nats of each token of `aligned`, -ln p summed over its own frames. blank_cost: the same for all blanks. Together
    they are path_cost, the cost of this one path. loss: -ln of the probability of every path that spells the text, which
    is torch.nn.CTCLoss's value and never more than path_cost.
    words, characters: what turns the text into what was heard.
    """

    aligned: Transcription
    heard: Transcription
    costs: tuple[float, ...]
    blank_cost: float
    loss: float
    words: ErrorCounts
    characters: ErrorCounts

    @property
    def path_cost(self) -> float:
        return sum(self.costs) + self.blank_cost

    def summary(self) -> dict:
        """The figures, as JSON has them."""
        return {
            "loss": round(self.loss, 4),
            "path_cost": round(self.path_cost, 4),
            "wer": self.words.rate,
            "cer": self.characters.rate,
            "words": vars(self.words),
            "characters": vars(self.characters),
        }


def align(heard: Transcription, text: str) -> Reference:
    """The sentence `text` aligned with the audio of `heard`.

    Raises TextError for characters the alphabet lacks, with a spelling that it has, AlignmentError for a text that cannot
    fit the frames or has a probability of zero, and CtcError for an emission whose frames are no distributions.
    """
    emission = heard.emission
    tokens = spell(text, emission.alphabet)
    path = forced_path(emission, tokens)
    aligned = Transcription.of_path(path, emission, heard.sound, heard.convention)
    # No probability is above 1, though rounding may say so: no cost is below 0, nor is it -0.0.
    frame_costs = (-emission.log_probs.gather(1, torch.tensor(path)[:, None])[:, 0]).clamp(min=0)  # (T',) nats
    costs = tuple(float(frame_costs[span.first : span.last + 1].sum()) for span in aligned.tokens)
    blank_cost = float(frame_costs[torch.tensor(path) == emission.alphabet.blank].sum())
    lengths = torch.tensor([len(emission)]), torch.tensor([len(tokens)])
    loss = max(0.0, float(ctc_loss(emission.log_probs[None], torch.tensor([tokens]), *lengths, emission.alphabet.blank)))
    reference = emission.alphabet.normalise(text)
    words, characters = word_errors(reference, heard.text), character_errors(reference, heard.text)
    return Reference(aligned, heard, costs, blank_cost, loss, words, characters)


def spell(text: str, alphabet: Alphabet) -> list[int]:
    """Token ids of a typed sentence. Raises TextError that names what the alphabet lacks and offers a spelling."""
    from asr_core.spelling import suggest  # here, because number words are wanted only then

    text = alphabet.normalise(text)
    if unknown := alphabet.unknown(text):
        named = ", ".join(f"“{part}”" for part in unknown)
        suggestion = suggest(text, alphabet)
        offer = f" Nearest spelling: {suggestion}" if suggestion else ""
        raise TextError(f"The model's alphabet lacks {named}.{offer}", suggestion)
    return alphabet.encode(text)
