"""What is found on speech with transcripts: how much a beam search should heed the language model, by the weights that make
the fewest word errors, and how far a word is to be trusted then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from asr_core.beam import beam_text
from asr_core.calibration import Calibration, evidence_of, fit
from asr_core.decoding import DECODERS
from asr_core.emission import Emission
from asr_core.language_model import LanguageModel
from asr_core.lookahead import Lookahead
from asr_core.metrics import ErrorCounts, word_errors, words_right
from asr_core.recogniser import Recogniser
from asr_core.sound import Sound
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription

Point = tuple[float, ...]  # of FIELDS; without the last where no phones are heard
FIELDS = "weight", "word_bonus", "prior_weight", "phone_weight"  # of a LanguageModel
START, STEP, LEAST = (0.7, 0.0, 0.4, 0.4), (0.2, 1.0, 0.2, 0.2), (0.0, -1_000.0, 0.0, 0.0)
SMALLEST = 1 / 4  # steps are halved down to a fourth
RAREST = 1e-4  # a token that these utterances happen to lack is not therefore preferred to all others


def tune(emissions: Sequence[tuple[str, Emission]], model: LanguageModel, report: Callable[[str], None]) -> LanguageModel:
    """emissions: (reference, emission) of utterances -> the model with the weights found, and the prior, which needs no
    references.

    A pattern search: try the neighbours, two for each weight, go to the best, halve the step when none is better.
    """
    heard = [emission for _, emission in emissions]
    model = replace(model, prior=log_prior(heard))
    lookahead = Lookahead(model, heard[0].alphabet)
    tried: dict[Point, float] = {}

    def error_rate(point: Point) -> float:
        if point not in tried:
            weighted = lookahead.weighted(**weights(point))
            counts = ErrorCounts()
            for reference, emission in emissions:
                counts += word_errors(reference, beam_text(emission, weighted))
            tried[point] = counts.rate
            report(f"{shown(point)}: WER {counts.rate:.4f}")
        return tried[point]

    best, size = START if heard[0].phones is not None else START[:-1], 1.0
    while size >= SMALLEST:
        nearest = min(neighbours(best, size), key=error_rate)
        if error_rate(nearest) < error_rate(best):
            best = nearest
        else:
            size /= 2
    return replace(model, **weights(best))


def calibrate(
    model: Recogniser, emissions: Sequence[tuple[str, Emission]], report: Callable[[str], None]
) -> dict[str, Calibration]:
    """emissions: (reference, emission) of utterances that the model heard -> the calibration of each decoder's words."""
    found, transcriber = {}, Transcriber(model)
    words = model.language_model
    for decoder in DECODERS:
        evidence, right = [], []
        for reference, emission in emissions:
            sound = Sound.unheard(len(emission) * emission.frame_s)
            reading = Transcription.of_path(transcriber.path(emission, decoder), emission, sound)
            evidence.append(evidence_of(reading, words and words.id_of))
            right += words_right(reference, reading.text)
        found[decoder] = fit(np.concatenate(evidence), np.array(right, bool))
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in asdict(found[decoder]).items())
        report(f"{decoder}: {len(right):,} words, {sum(right):,} of them right; {numbers}")
    return found


def log_prior(emissions: Sequence[Emission]) -> tuple[float, ...]:
    """ln of the mean probability of each token, over all frames (V,)."""
    frames = torch.cat([emission.log_probs for emission in emissions])  # (N, V)
    mean = frames.double().exp().mean(0).clamp(min=RAREST)
    return tuple(round(value, 4) for value in mean.log().tolist())


def neighbours(point: Point, size: float) -> list[Point]:
    """One step in each direction, where the values mean something."""
    return [
        (*point[:axis], max(LEAST[axis], round(point[axis] + sign * size * STEP[axis], 3)), *point[axis + 1 :])
        for axis in range(len(point))
        for sign in (1, -1)
    ]


def weights(point: Point) -> dict[str, float]:
    """The fields of LanguageModel that a point stands for."""
    return dict(zip(FIELDS, point, strict=False))


def shown(point: Point) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in weights(point).items())
