"""Rules that need the model, or what it was called with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr_core.doctor.evidence import Evidence
from asr_core.doctor.report import Severity
from asr_core.doctor.rules import Found, rule

MIXED = 0.01  # nats: the same utterance, in the same padding, may differ by float32 rounding and no more
MIXED_HALF = 0.2  # the same, for a model in half precision
LEAK = 0.1  # nats: a leak of padding that matters
PLATEAU_STEPS = 5_000  # healthy models leave the plateau of blanks within a few thousand steps
PLATEAU_BLANKS, PLATEAU_RATIO = 0.95, 0.98
EXACT_MEAN, EXACT_STD = 1e-5, 1e-3  # of features: only their own statistics make them as exact


@rule(
    8,
    "view where transpose was meant",
    effect="Frames of different utterances are mixed: the loss reaches a plateau and only blanks come out.",
    fix="transpose(0, 1) (or permute) to swap axes; view and reshape only cut the same numbers into other pieces.",
    needs=("history", "batch"),
    unless=(23, 28),
)
def view_for_transpose(evidence: Evidence) -> Found | None:
    """The autograd history has a view that swaps the axes of utterances and frames, or puts frames where channels were;
    or the model, in eval mode, gives an utterance alone, in the same padding, another output than in the batch."""
    for before, after in evidence.history.views if evidence.history else ():
        if _swaps(before, after, evidence.utterances):
            return Found(f"A view or reshape turns shape {before} into {after}: the same numbers, cut into other pieces.")
    if not evidence.has("batch"):
        return None
    together, last = evidence.outputs, evidence.utterances - 1
    alone = evidence.rerun(last)
    if evidence.utterances < 2 or alone is None or len(alone) != len(together):
        return None
    if not (frames := int(evidence.available[last])):
        return None
    apart = float((alone[:frames, 0].log_softmax(-1) - together[:frames, last].log_softmax(-1)).abs().max())
    if apart <= (MIXED_HALF if evidence.half_model else MIXED):
        return None
    return Found(
        f"Alone, with the same padding, {evidence.name(last)} gets other log-probabilities than in the batch: they "
        f"differ by up to {apart:.2f} nats."
    )


def _swaps(before: tuple[int, ...], after: tuple[int, ...], utterances: int) -> bool:
    if len(before) < 3 or len(after) < 3:
        return False
    first, second = before[:2]
    if after[:2] == (second, first) and first != second and utterances in (first, second) and 1 not in (first, second):
        return True  # (B, T, ...) -> (T, B, ...)
    frames_first = after[1] in before[2:] and after[1] not in (second, second * before[2])  # (B, C, M, T) -> (B, T, C * M)
    return len(before) == 4 and len(after) == 3 and first == after[0] == utterances and frames_first


@rule(
    20,
    "Nothing but blanks, long after the start",
    effect="The model has settled on what it can say without listening: the text stays empty.",
    fix="Overfit one batch of 4 utterances first. If that fails, look at rules 8, 9, 15 and 18; if it works, at the "
    "learning rate.",
    source="cyprienruffino/CTCModel#12",
    needs=("step",),
    unless=(1, 2, 3, 4, 6, 9, 10, 12, 14, 15, 16),
    heavy=True,
)
def plateau(evidence: Evidence) -> Found | None:
    """After 5,000 steps, more than 95 % of the frames are blanks and the ignores-the-audio ratio is above 0.98. Before
    that it is how every CTC model begins."""
    if evidence.step < PLATEAU_STEPS or not evidence.holds_log_probabilities or (evidence.blank_rate or 0) <= PLATEAU_BLANKS:
        return None
    ratio = evidence.ignores_audio_ratio
    if ratio is None or ratio <= PLATEAU_RATIO:
        return None
    return Found(
        f"At step {evidence.step}, {evidence.blank_rate:.0%} of the frames are blanks and the loss is {ratio:.2f} times "
        "that of a model that hears nothing."
    )


@rule(
    23,
    "Not a number",
    effect="One utterance without a finite value makes the gradient, and after the next step every weight, NaN.",
    fix="Leave that utterance out, clip the gradient (clip_grad_norm_), warm the learning rate up; start again from a "
    "good checkpoint.",
    source="apoorvnandan/speech-recognition-primer#2",
    unless=(5, 9, 10, 12, 16, 19),
)
def not_finite(evidence: Evidence) -> Found | None:
    """log_probs holds NaN in some utterance: the first is named, with model= the first weight that is NaN, with batch=
    whether the features were. Or the loss that was given is not finite, though log_probs is and every text fits."""
    broken = (evidence.totals.isnan() & evidence.heard).any(0).cpu()  # (B,)
    if not bool(broken.any()):
        if evidence.loss is None or bool(evidence.loss.isfinite().all()) or not bool(evidence.computable.all()):
            return None
        return Found(
            f"The loss is {_first_bad(evidence.loss)}, but log_probs is finite and every text fits: something other "
            "than the CTC loss is added to it, or it was divided by 0."
        )
    told = (
        f"log_probs holds NaN in {int(broken.sum())} of {evidence.utterances} utterances: first in "
        f"{evidence.name(int(broken.nonzero()[0]))}."
    )
    return Found(told + _origin(evidence))


def _first_bad(loss: Tensor) -> float:
    return float(loss.reshape(-1)[~loss.reshape(-1).isfinite()][0])


def _origin(evidence: Evidence) -> str:
    features = evidence.inputs.features if evidence.inputs else None
    if features is not None:
        others = [axis for axis in range(features.ndim) if axis != evidence.inputs.axis(features)]
        bad = (~features.isfinite()).any(dim=others).nonzero()
        if len(bad):
            return f" Its cause comes before the model: the features of {evidence.name(int(bad[0]))} are not finite."
    if evidence.model is not None:
        spoilt = [name for name, weight in evidence.model.named_parameters() if not bool(weight.isfinite().all())]
        if spoilt:
            return f" The weights are spoilt already, first {spoilt[0]}: an earlier step did it."
    return ""


@rule(
    26,
    "Evaluated in training mode, or padding leaks",
    effect="The text of an utterance changes from run to run, or with the utterances that share its batch.",
    fix="model.eval() before decoding and model.train() after; mask every layer that sees the padding, or trim it.",
    source="baidu-research/ba-dls-deepspeech#21",
    needs=("model",),
    unless=(8, 23, 28),
    heavy=True,
)
def not_at_rest(evidence: Evidence) -> Found | None:
    """The model is in training mode under no_grad(), with dropout or batch norm in it. Or, with batch=, the shortest
    utterance alone, without its padding, has other best tokens than in the batch, and log-probabilities more than 0.1
    nats away."""
    active = [type(m).__name__ for m in evidence.model.modules() if m.training and _changes_with_mode(m)]
    if active and not torch.is_grad_enabled():
        return Found(f"The model is in training mode under no_grad(), and holds {active[0]}.", Severity.WARNING)
    lengths = evidence.inputs.lengths if evidence.has("batch") else None
    if lengths is None or int(lengths.min()) == int(lengths.max()):
        return None
    shortest = int(lengths.argmin())
    trimmed = evidence.rerun(shortest, trimmed=True)
    if trimmed is None or not 0 < len(trimmed) <= len(evidence.outputs):
        return None
    alone = trimmed[:, 0].log_softmax(-1)  # (T', V)
    padded = evidence.outputs[: len(alone), shortest].log_softmax(-1)
    apart, changed = float((alone - padded).abs().max()), int((alone.argmax(-1) != padded.argmax(-1)).sum())
    if apart <= LEAK or not changed:
        return None
    return Found(
        f"Without its padding, {evidence.name(shortest)} gets another best token in {changed} of {len(alone)} frames, "
        f"and log-probabilities that differ by up to {apart:.2f} nats.",
        Severity.WARNING,
    )


def _changes_with_mode(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


@rule(
    27,
    "Another sample rate than in training",
    effect="Every sound is heard at another pitch and speed: gibberish.",
    fix="Resample to the rate of the training data, and store that rate in the checkpoint.",
    source="SeanNaren/deepspeech.pytorch#308",
    needs=("rates",),
)
def sample_rate(evidence: Evidence) -> Found | None:
    """sample_rate= differs from expected_sample_rate=."""
    if evidence.sample_rate == evidence.expected_sample_rate:
        return None
    return Found(
        f"The audio has {evidence.sample_rate:g} Hz, and the model was trained on {evidence.expected_sample_rate:g} Hz."
    )


@rule(
    28,
    "Statistics of the batch, not of the training data",
    effect="The same utterance gets other features in another batch, and the checkpoint lacks what is needed to repeat "
    "them.",
    fix="Compute mean and deviation once over the training data and save them with the weights; keep "
    "track_running_stats=True.",
    source="speechbrain/speechbrain#931",
    needs=("model",),
    unless=(23,),
)
def batch_statistics(evidence: Evidence) -> Found | None:
    """A batch norm keeps no running statistics; or, with batch=, the features of the whole batch have mean 0 and
    deviation 1 to more digits than chance gives, while those of each utterance have not."""
    for name, module in evidence.model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats:
            return Found(
                f"The batch norm {name!r} keeps no running statistics: it always uses those of the batch.", Severity.WARNING
            )
    features = evidence.inputs.features if evidence.inputs else None
    if features is None or evidence.utterances < 2:
        return None
    rows = features.detach().double().movedim(evidence.inputs.axis(features), 0)  # (B, ...)
    every, each = rows[rows != 0], rows.flatten(1).mean(1)
    if (
        abs(float(rows.mean())) > EXACT_MEAN
        or abs(float(every.std()) - 1) > EXACT_STD
        or float(each.abs().max()) < 100 * EXACT_MEAN
    ):
        return None
    return Found(
        f"The features of the batch have mean {float(rows.mean()):.1e} and deviation {float(every.std()):.5f}, while "
        f"those of single utterances have means up to {float(each.abs().max()):.2f}: they were normalised by this batch.",
        Severity.WARNING,
    )
