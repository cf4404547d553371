"""Rules about what log_probs is: 1 to 3 are one classifier, 4 to 6 ask how it was made."""

from __future__ import annotations

import torch

from asr_core.doctor.evidence import Evidence
from asr_core.doctor.kinds import Kind
from asr_core.doctor.report import Severity
from asr_core.doctor.rules import Found, rule

FRAMES_TO_JUDGE = 50
USE = "Feed torch.nn.functional.log_softmax(logits, dim=-1) to the loss."


@rule(
    1,
    "Softmax in place of log_softmax",
    effect="The loss is negative from the first step and falls for ever: it no longer measures how probable the text is.",
    fix=USE,
    source="SeanNaren/deepspeech.pytorch#488",
)
def softmax(evidence: Evidence) -> Found | None:
    """Every value lies between 0 and 1, and the tokens of each frame sum to 1: these are probabilities, not their
    logarithms."""
    if evidence.kind is not Kind.PROBABILITIES:
        return None
    values = evidence.log_probs
    return Found(
        f"log_probs holds probabilities: values from {float(values.min()):.3g} to {float(values.max()):.3g}, and the "
        f"{evidence.vocabulary} tokens of every frame sum to 1."
    )


@rule(
    2,
    "Raw logits",
    effect="The loss counts scores as if they were log-probabilities: it may be negative, and learns slowly or not at all.",
    fix=USE,
    source="gwx314/STARS#9",
)
def raw_logits(evidence: Evidence) -> Found | None:
    """logsumexp over the tokens is off 0 by more than 1e-3 (a warning below 0.05), and over no other axis is it 0."""
    kind = evidence.kind
    if kind not in (Kind.LOGITS, Kind.NEARLY):
        return None
    totals = evidence.totals[evidence.heard]
    span = f"logsumexp over the tokens runs from {float(totals.min()):.3g} to {float(totals.max()):.3g}, and should be 0"
    if kind is Kind.NEARLY:
        return Found(f"log_probs is almost normalised, but not quite: {span}.", Severity.WARNING)
    return Found(f"log_probs holds raw logits: {span}.")


@rule(
    3,
    "Softmax over the wrong dimension",
    effect="The loss is positive and falls, but towards a high floor: frames or utterances compete instead of tokens.",
    fix="Use log_softmax(dim=-1): the last axis, the tokens.",
)
def wrong_dimension(evidence: Evidence) -> Found | None:
    """The values are normalised over the frames or over the batch, and not over the tokens."""
    kind = evidence.kind
    if kind not in (Kind.OVER_TIME, Kind.OVER_BATCH):
        return None
    axis = "frames" if kind is Kind.OVER_TIME else "utterances of the batch"
    count = evidence.frames if kind is Kind.OVER_TIME else evidence.utterances
    totals = evidence.totals[evidence.heard]
    return Found(
        f"log_probs is normalised over the {count} {axis}; over the {evidence.vocabulary} tokens logsumexp runs from "
        f"{float(totals.min()):.3g} to {float(totals.max()):.3g}, and should be 0."
    )


@rule(
    4,
    "Softmax twice",
    effect="A probability is at most e times another, whatever the model learns: the loss falls a little and nothing "
    "decodes.",
    fix="Remove the softmax before log_softmax: the model should return logits. log_softmax twice does no harm.",
    source="SeanNaren/deepspeech.pytorch#194",
    unless=(1, 2, 3),
)
def softmax_twice(evidence: Evidence) -> Found | None:
    """The autograd history has a softmax right before the log_softmax, or the values fit nothing else: in every frame
    they are those of a distribution, shifted, though some are nearly certain (a warning when it is one token in all
    frames). With fewer than 8 tokens, or 50 frames, values alone cannot tell."""
    if evidence.history is not None:
        if evidence.history.operations[:2] == ("LogSoftmax", "Softmax"):
            return Found("The autograd history of log_probs has a softmax right before the log_softmax.")
        if evidence.history.operations:
            return None
    if not evidence.holds_log_probabilities:
        return None
    if evidence.has("batch"):
        return _softmax_in_the_model(evidence)
    return _squeezed(evidence) if evidence.vocabulary >= 8 else None


def _softmax_in_the_model(evidence: Evidence) -> Found | None:
    outputs = evidence.outputs  # (T', B, V)
    if bool((outputs >= 0).all()) and bool(((outputs.sum(-1) - 1).abs() < 1e-3).all()):
        if outputs.shape != evidence.log_probs.shape:
            return None
        given = evidence.log_probs
        once, twice = (float((given - made).abs().mean()) for made in (outputs.log(), outputs.log_softmax(-1)))
        return Found("The model returns probabilities, and log_probs is their log_softmax.") if twice < once else None
    louder = evidence.louder_outputs
    if louder is None or bool((outputs.logsumexp(-1).abs() > 1e-3).any()):
        return None  # the model returns logits
    spread = float((louder.amax(-1) - louder.amin(-1)).max())
    if not 0.9 < spread <= 1.001:  # a softmax of loud logits is 0 or 1; any other layer leaves no such trace
        return None
    return Found(
        "With the output of its last layer multiplied by 100, the model's log-probabilities still differ by "
        f"{spread:.3f} nats at most."
    )


def _squeezed(evidence: Evidence) -> Found | None:
    top, token = evidence.best
    spread = (top - evidence.least)[evidence.heard]  # (N,): at most 1 for the log_softmax of probabilities
    if len(spread) < FRAMES_TO_JUDGE or float(spread.max()) > 1.001 or float((spread > 0.8).float().mean()) < 0.05:
        return None
    shift = (1 - evidence.log_probs.sum(-1)) / evidence.vocabulary  # (T, B): lp + shift sums to 1
    if float((evidence.least + shift)[evidence.heard].min()) < -1e-3:
        return None
    winners = len(token[evidence.heard][spread > 0.8].unique())
    if winners == 1 and float((spread > 0.999).float().mean()) < 0.95:
        return None
    return Found(
        f"In every frame the most and the least probable token differ by at most {float(spread.max()):.3f} nats, and "
        f"adding a constant turns the values into probabilities that sum to 1, with {winners} of the tokens near "
        "certainty.",
        Severity.ERROR if winners > 1 else Severity.WARNING,
    )


@rule(
    5,
    "log(softmax(x)) in place of log_softmax(x)",
    effect="Once the model is confident, a probability underflows to 0, its logarithm is -inf, the loss inf and the "
    "gradient NaN.",
    fix=USE,
    unless=(1, 2, 3),
)
def log_of_softmax(evidence: Evidence) -> Found | None:
    """Some values are -inf, and not those of a token that is switched off in every frame; or the autograd history has a
    logarithm right after a softmax (a warning until it underflows)."""
    inside = evidence.heard
    if float(evidence.least[inside].min() if bool(inside.any()) else 0) == -torch.inf:
        gone = (evidence.log_probs == -torch.inf)[inside]  # (N, V)
        gone = gone[:, ~gone.all(0)]  # a token that is never possible was masked on purpose
        if bool(gone.any()):
            return Found(
                f"{int(gone.sum())} values of log_probs are -inf, in {int(gone.any(1).sum())} of {len(gone)} frames."
            )
    if evidence.history is not None and evidence.history.operations[:2] == ("Log", "Softmax"):
        return Found("The autograd history of log_probs has a logarithm right after a softmax.", Severity.WARNING)
    return None


@rule(
    6,
    "The loss is cut off from the model",
    effect="No gradient reaches the weights: the loss stays where it is, or moves with the batches alone.",
    fix="Take out .detach(), .data, .numpy() and no_grad between the model and the loss.",
    source="pytorch/pytorch#52241",
    needs=("step",),
)
def detached(evidence: Evidence) -> Found | None:
    """In a training step, the loss that was given needs no gradient, or, with model=, the gradient reaches none of its
    parameters. Where somebody's own autograd function or a compiled graph lies between, the rule keeps silent."""
    given = evidence.loss_history or evidence.history
    if given is None:
        if evidence.has("history") and evidence.has("loss") and evidence.loss_is_tensor and torch.is_grad_enabled():
            return Found("Neither the loss nor log_probs, as they were given here, has an autograd history.")
        return None
    if evidence.model is None or given.opaque:
        return None
    trained = [parameter for parameter in evidence.model.parameters() if parameter.requires_grad]
    if not trained or any(id(parameter) in given.leaves for parameter in trained):
        return None
    return Found(f"The gradient of the loss reaches none of the model's {len(trained)} parameter tensors.")
