"""Rules about one batch: its layout, its lengths, its labels."""

from __future__ import annotations

from torch import Tensor

from asr_core.doctor.evidence import Evidence
from asr_core.doctor.report import Severity
from asr_core.doctor.rules import Found, rule

CONVOLUTION = (
    "Compute them with the encoder's own formula, layer by layer: (T + 2 padding - dilation (kernel - 1) - 1) // stride + 1."
)
FACTORS = (2, 3, 4, 6, 8)  # the subsampling of common encoders
PADDING = 3  # equal labels in a row that end a target: hardly a word


@rule(
    7,
    "Batch first where time comes first",
    effect="torch reads utterances as frames and frames as utterances: it refuses, or, where the two counts are equal, "
    "trains on nonsense without a word.",
    fix="log_probs.transpose(0, 1): torch.nn.CTCLoss takes (T, B, V).",
    source="https://docs.pytorch.org/docs/stable/generated/torch.nn.CTCLoss.html",
)
def batch_first(evidence: Evidence) -> Found | None:
    """The utterances are on the first axis, by the count of target_lengths. Where there are as many frames as
    utterances, the neighbours on the second axis resemble each other more than twice as much as those on the first:
    only time does that."""
    shape = (evidence.frames, evidence.utterances, evidence.vocabulary)
    if evidence.layout == "(B, T, V)":
        return Found(
            f"log_probs is (B, T, V) = {(shape[1], shape[0], shape[2])}: the {shape[1]} utterances are on the first axis."
        )
    if evidence.layout == "(B, V, T)":
        given = (shape[1], shape[2], shape[0])
        return Found(
            f"log_probs is (B, V, T) = {given}.", fix="log_probs.permute(2, 0, 1): torch.nn.CTCLoss takes (T, B, V)."
        )
    if shape[0] != shape[1] or shape[0] < 4:
        return None
    values = evidence.log_probs
    along = [
        float((values.narrow(axis, 1, shape[axis] - 1) - values.narrow(axis, 0, shape[axis] - 1)).abs().mean())
        for axis in (0, 1)
    ]
    if not along[0] > 2 * along[1]:  # nor when padding holds NaN
        return None
    return Found(
        f"There are {shape[0]} frames and {shape[0]} utterances, so the shape cannot tell; but neighbours differ by "
        f"{along[0]:.3g} on the first axis and by {along[1]:.3g} on the second, which looks like time.",
        Severity.WARNING,
    )


@rule(
    9,
    "input_lengths before subsampling",
    effect="torch refuses lengths beyond the frames there are; other code reads past the end.",
    fix=CONVOLUTION,
    source="ShankHarinath/DeepSpeech2-Keras#3",
)
def not_subsampled(evidence: Evidence) -> Found | None:
    """Some input length exceeds the frames of log_probs, or what the model's own output_lengths() gives for the batch."""
    longest = int(evidence.input_lengths.max())
    if longest > evidence.frames:
        return Found(
            f"input_lengths reaches {longest}, but log_probs has {evidence.frames} frames: "
            f"{longest / evidence.frames:.2f} times as many."
        )
    true = evidence.true_lengths
    if (
        true is None
        or not bool((evidence.input_lengths > true).any())
        or bool((evidence.input_lengths == evidence.frames).all())
    ):
        return None
    return Found(_disagreement(evidence, true, evidence.input_lengths > true), Severity.WARNING)


@rule(
    10,
    "input_lengths too short",
    effect="The end of every utterance is never seen: texts do not fit (loss inf), or are squeezed into the frames "
    "that remain.",
    fix=CONVOLUTION,
    source="openspeech-team/openspeech#76",
    unless=(9,),
)
def divided_twice(evidence: Evidence) -> Found | None:
    """The longest input length is the frames of log_probs divided once more, or less than the model's own output_lengths()
    gives: an error when a text that would fit no longer does. One frame too few, as T // 2 leaves, is a note."""
    true = evidence.true_lengths
    if true is not None and bool((evidence.input_lengths < true).any()):
        return Found(_disagreement(evidence, true, evidence.input_lengths < true), Severity.WARNING)
    longest, frames = int(evidence.input_lengths.max()), evidence.frames
    if longest == frames - 1 and frames >= 16:
        return Found(
            f"The longest input length is {longest}, but log_probs has {frames} frames: T // 2 of a stride-2, kernel-3, "
            "padding-1 convolution, whose true length is (T - 1) // 2 + 1, loses a frame like this.",
            Severity.NOTE,
        )
    factor = next((factor for factor in FACTORS if longest in (frames // factor, -(-frames // factor))), None)
    if factor is None or frames < 16:
        return None
    would_fit = evidence.infeasible & (evidence.needed <= evidence.input_lengths * factor)
    told = f"The longest input length is {longest}, and log_probs has {frames} frames, {factor} times as many"
    if bool(would_fit.any()):
        return Found(f"{told}; {int(would_fit.sum())} of {evidence.utterances} texts fit only into the longer.")
    return Found(f"{told}. Were the lengths divided twice?", Severity.WARNING)


def _disagreement(evidence: Evidence, true: Tensor, where: Tensor) -> str:
    first = int(where.nonzero()[0])
    return (
        f"{int(where.sum())} of {evidence.utterances} input lengths differ from the model's output_lengths(): "
        f"{evidence.name(first)} is given {int(evidence.input_lengths[first])} frames and has {int(true[first])}."
    )


@rule(
    11,
    "input_lengths of the padding",
    effect="The model must write blanks over silence that is not there: it learns, but later, and shorter utterances "
    "suffer.",
    fix="Pass each utterance's own length, not the padded one.",
    needs=("durations",),
    unless=(9,),
)
def padded_input_lengths(evidence: Evidence) -> Found | None:
    """All input lengths are equal, though by durations= the utterances differ by more than two frames."""
    lengths, durations = evidence.input_lengths, evidence.durations
    if evidence.utterances < 2 or not bool((lengths == lengths[0]).all()):
        return None
    shortest, longest = float(durations.min()), float(durations.max())
    if longest <= 0 or (1 - shortest / longest) * int(lengths[0]) <= 2:
        return None
    return Found(
        f"All {evidence.utterances} input lengths are {int(lengths[0])}, but the shortest utterance lasts "
        f"{shortest / longest:.0%} of the longest.",
        Severity.WARNING,
    )


@rule(
    12,
    "Target longer than its frames",
    effect="No path spells the text: its loss is infinite, and one infinite utterance spoils the gradient of the whole "
    "batch.",
    fix="Drop or split these utterances, or subsample less. A text needs S + R frames: one a token, one more between "
    "equal neighbours.",
    source="pytorch/pytorch#31557",
    unless=(9, 10, 13, 14),
)
def infeasible(evidence: Evidence) -> Found | None:
    """S + R > T: an utterance has more tokens, plus blanks between equal neighbours, than frames."""
    return Found(_misfits(evidence)) if bool(_short(evidence).any()) else None


@rule(
    13,
    "zero_infinity hides texts that cannot fit",
    effect="Their infinite loss is counted as 0: the mean is too low, and nothing is ever learnt from them.",
    fix="Keep zero_infinity if you like, but drop these utterances before training, and log how many there are.",
    source="facebookresearch/fairseq#3753",
    unless=(9, 10, 14),
)
def hidden_by_zero_infinity(evidence: Evidence) -> Found | None:
    """Texts cannot fit, and zero_infinity=True was given, or the loss that was given is finite all the same. An error when
    it is more than a fifth of the batch."""
    short = _short(evidence)
    hidden = evidence.zero_infinity or (evidence.loss is not None and bool(evidence.loss.isfinite().all()))
    if not hidden or not bool(short.any()):
        return None
    severity = Severity.ERROR if float(short.float().mean()) > 0.2 else Severity.WARNING
    return Found(f"{_misfits(evidence)} zero_infinity turns that into 0.", severity)


def _short(evidence: Evidence) -> Tensor:
    return evidence.infeasible & evidence.spelled & (evidence.input_lengths >= 1)


def _misfits(evidence: Evidence) -> str:
    short = _short(evidence)
    first = int(short.nonzero()[0])
    return (
        f"{int(short.sum())} of {evidence.utterances} texts cannot fit: {evidence.name(first)} needs "
        f"{int(evidence.needed[first])} frames and has {int(evidence.available[first])}."
    )


@rule(
    14,
    "target_lengths of the padding",
    effect="The padding is learnt as text. Where it is the blank, paths are counted twice and the loss can fall below 0.",
    fix="Pass the lengths before padding: torch.tensor([len(text) for text in texts]).",
    source="huggingface/transformers#10145",
)
def padded_target_lengths(evidence: Evidence) -> Found | None:
    """All target lengths are equal, and the rows end in runs of different length of one and the same token: the blank, a
    negative id, or (a warning) any other, three in a row or more in at least half of the rows."""
    lengths = evidence.target_lengths
    if evidence.utterances < 2 or not bool((lengths == lengths[0]).all()) or int(lengths[0]) < 2:
        return None
    targets = evidence.targets[:, : int(lengths[0])]  # (B, L)
    last = targets[:, -1]
    padding = int(last.mode().values)
    if evidence.blank in last or bool((last < 0).any()):
        padding = evidence.blank if evidence.blank in last else int(last.min())
    runs = (targets.flip(1) == padding).long().cumprod(1).sum(1)  # (B,): how many times it ends each row
    certain = padding == evidence.blank or padding < 0
    inside = (targets == padding).sum(1) > runs
    if certain and (bool((runs == lengths).all()) or bool(inside.any())):
        return None  # it is all over the text: no padding
    padded = runs >= (1 if certain else PADDING)
    if not certain and (int(runs.min()) > 1 or len(runs.unique()) < 2 or float(padded.float().mean()) < 0.5):
        return None
    if not bool(padded.any()):
        return None
    first = int(padded.nonzero()[0])
    return Found(
        f"All {evidence.utterances} target lengths are {int(lengths[0])}, and {int(padded.sum())} targets end in token "
        f"{padding}{', the blank' if padding == evidence.blank else ''}: {evidence.name(first)} {int(runs[first])} "
        "times.",
        Severity.ERROR if certain else Severity.WARNING,
    )


@rule(
    15,
    "The blank is in the targets",
    effect="Paths are counted more than once: the loss can be negative with a correct log_softmax, and this letter is "
    "never written.",
    fix="Give the blank an id of its own that no text uses, for instance by starting the letters at 1 with blank=0.",
    source="yl4579/AuxiliaryASR#4",
    unless=(14,),
)
def blank_in_targets(evidence: Evidence) -> Found | None:
    """Some label within target_lengths is the blank's id."""
    found = (evidence.targets == evidence.blank) & evidence.labelled  # (B, L)
    if not bool(found.any()):
        return None
    meaning = f", which the labels call {evidence.labels[evidence.blank]!r}" if evidence.labels else ""
    return Found(
        f"{int(found.sum())} of {int(evidence.labelled.sum())} labels are token {evidence.blank}, the blank{meaning}, "
        f"in {int(found.any(1).sum())} of {evidence.utterances} utterances: first in "
        f"{evidence.name(int(found.any(1).nonzero()[0]))}."
    )


@rule(
    16,
    "Label outside the vocabulary",
    effect="On a CPU the loss is finite garbage, on a GPU an illegal memory access: torch does not check the labels.",
    fix="Check the labels where you collate them, and give the model an output for every token, the blank included.",
    source="pytorch/pytorch#191568",
    unless=(14,),
)
def outside_the_vocabulary(evidence: Evidence) -> Found | None:
    """Some label within target_lengths is negative, or not below the number of tokens."""
    outside = ((evidence.targets < 0) | (evidence.targets >= evidence.vocabulary)) & evidence.labelled
    if not bool(outside.any()):
        return None
    values = evidence.targets[outside]
    return Found(
        f"{int(outside.sum())} labels, from {int(values.min())} to {int(values.max())}, are outside tokens 0 to "
        f"{evidence.vocabulary - 1}: first in {evidence.name(int(outside.any(1).nonzero()[0]))}."
    )


@rule(
    19,
    "Empty text or no frames",
    effect="Without frames the loss is infinite. An empty text teaches blanks alone, and older torch returns a wrong "
    "gradient.",
    fix="Leave such utterances out when you read the data.",
    source="pytorch/pytorch#18215",
)
def empty(evidence: Evidence) -> Found | None:
    """A target length of 0 (a warning), or an input length of 0 or less."""
    silent, wordless = evidence.input_lengths < 1, evidence.target_lengths < 1
    if not bool((silent | wordless).any()):
        return None
    first = int((silent if bool(silent.any()) else wordless).nonzero()[0])
    return Found(
        f"{int(wordless.sum())} texts are empty and {int(silent.sum())} utterances have no frames: first "
        f"{evidence.name(first)}.",
        Severity.ERROR if bool(silent.any()) or bool((evidence.target_lengths < 0).any()) else Severity.WARNING,
    )


@rule(
    21,
    "The mean is not the mean",
    effect="Learning rates and figures cannot be compared: torch's 'mean' divides each loss by its target length, then "
    "by the batch.",
    fix="Report nats a character (sum of losses / sum of target lengths), and divide once.",
    source="pytorch/pytorch#19838",
    needs=("loss",),
    unless=(13, 14, 16, 19),
    heavy=True,
)
def misread_mean(evidence: Evidence) -> Found | None:
    """The loss that was given is recomputed from log_probs. A warning when it is another reduction than reduction=
    says, a note when it is the mean divided by the batch a second time, which accumulated gradients may want."""
    if evidence.loss.numel() != 1 or evidence.utterances < 2 or not bool(evidence.computable.all()):
        return None
    losses, given = evidence.losses, float(evidence.loss)
    mean = float((losses / evidence.target_lengths).mean())
    known = {
        "mean": mean,
        "sum": float(losses.sum()),
        "the mean of the utterances' sums": float(losses.mean()),
        "the sum divided by all characters": float(losses.sum() / evidence.target_lengths.sum()),
        "the mean divided by the batch again": mean / evidence.utterances,
    }
    close = [name for name, value in known.items() if abs(value - given) <= 1e-4 * abs(value)]
    if not close or evidence.reduction in close:
        return None
    told = f"The loss is {given:.4f}, which is {close[0] if close[0] not in ('mean', 'sum') else f'reduction={close[0]!r}'}"
    if evidence.reduction in known:
        return Found(
            f"{told}, not reduction={evidence.reduction!r}: that is {known[evidence.reduction]:.4f}.", Severity.WARNING
        )
    return Found(f"{told}: {mean:.4f} / {evidence.utterances}.", Severity.NOTE) if close[0].endswith("again") else None
