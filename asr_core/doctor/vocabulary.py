"""Rules about what the tokens mean: which one is the blank, and whether the targets spell the text."""

from __future__ import annotations

import torch

from asr_core.doctor.evidence import Evidence
from asr_core.doctor.report import Severity
from asr_core.doctor.rules import Found, rule

BLANKS = {
    "<blank>",
    "<blk>",
    "<b>",
    "<eps>",
    "<ctc>",
    "<ctc_blank>",
    "[blank]",
    "blank",
    "<pad>",
    "[pad]",
    "ε",
    "_",
    "-",
    "",
}
CERTAIN_BLANKS = {"<blank>", "<blk>", "[blank]", "blank", "<ctc_blank>", "<pad>", "[pad]"}  # the rest may be letters
UNKNOWNS = {"<unk>", "[unk]", "<unknown>", "unk"}
FRAMES_TO_JUDGE = 100
COMMON = 0.2  # of the mean posterior: what a blank has at least, once something is learnt
LEARNT = 1.5  # nats a character: nobody gets there with the wrong blank


@rule(
    17,
    "Another blank than the model's",
    effect="Loss, decoder and vocabulary disagree about which token is nothing: confident garbage, or every letter "
    "shifted by one.",
    fix="One constant for the blank, used by the loss, the decoder and the vocabulary.",
    source="PT-Perkasa-Pilar-Utama/ppu-paddle-ocr#15",
    unless=(1, 2, 3, 4, 15, 16),
    heavy=True,
)
def wrong_blank(evidence: Evidence) -> Found | None:
    """labels= calls another token the blank. Or another token is the commonest, at least twice as common as the blank, and
    with that token as the blank the loss is less than half, and below 1.5 nats a character: with the same ids, or all ids
    one higher or lower."""
    if evidence.labels is not None:
        names = [label.strip().lower() for label in evidence.labels]
        named = [index for index, name in enumerate(names) if name in CERTAIN_BLANKS]
        if named and names[evidence.blank] not in BLANKS:
            return Found(
                f"blank is {evidence.blank}, which the labels call {evidence.labels[evidence.blank]!r}; token "
                f"{named[0]} is {evidence.labels[named[0]]!r}."
            )
    if not evidence.holds_log_probabilities or int(evidence.available.sum()) < FRAMES_TO_JUDGE or not evidence.characters:
        return None
    mean = evidence.mean_posterior
    other = int(mean.argmax())
    if other == evidence.blank or float(mean[other]) < max(COMMON, 2 * float(mean[evidence.blank])):
        return None
    rows = evidence.computable
    labels = evidence.targets[rows][evidence.labelled[rows]]
    now = float(evidence.losses[rows].sum()) / evidence.characters
    for shift in (0, 1, -1):
        moved = labels + shift
        if bool((moved == other).any()) or int(moved.min()) < 0 or int(moved.max()) >= evidence.vocabulary:
            continue
        then = float(evidence.ctc(evidence.log_probs[:, rows.to(mean.device)], other, shift).sum()) / evidence.characters
        if then < LEARNT and then < now / 2:
            ids = f" and all ids {shift:+d}" if shift else ""
            return Found(
                f"Token {other} fills {float(mean[other]):.0%} of the frames and the blank, token {evidence.blank}, "
                f"{float(mean[evidence.blank]):.0%}. With blank={other}{ids} the loss is {then:.2f} nats a character, "
                f"not {now:.2f}."
            )
    return None


@rule(
    18,
    "The targets do not spell the text",
    effect="Letters of another case or alphabet are dropped or become one unknown token: the model learns to write nothing.",
    fix="Normalise the text as the vocabulary has it (case, apostrophes, numbers as words), and refuse what has no token.",
    source="SeanNaren/warp-ctc#111",
    needs=("labels",),
    unless=(16,),
)
def unspelled(evidence: Evidence) -> Found | None:
    """More than a tenth of all labels are the unknown token (a warning from a fiftieth on); or, with texts=, the
    targets read as labels= lack letters of the text. Case, spaces and punctuation may differ."""
    labels = torch.tensor([label.strip().lower() in UNKNOWNS for label in evidence.labels])  # (V,)
    rows = evidence.spelled
    counted = evidence.targets[rows][evidence.labelled[rows]]
    share = float(labels[counted].float().mean()) if len(counted) else 0.0
    if share > 0.02:
        severity = Severity.ERROR if share > 0.1 else Severity.WARNING
        return Found(
            f"{share:.0%} of the labels are the unknown token: the vocabulary does not have these letters.", severity
        )
    if evidence.texts is None:
        return None
    lost, letters, example = 0, 0, ""
    for utterance, text in enumerate(evidence.texts):
        spelled = (
            "" if not rows[utterance] else _letters("".join(_plain(evidence.labels[t]) for t in _row(evidence, utterance)))
        )
        wanted = _letters(text)
        letters += len(wanted)
        if spelled != wanted:
            differing = sum(one != other for one, other in zip(spelled, wanted, strict=False))
            lost += abs(len(wanted) - len(spelled)) or differing
            example = (
                example or f"the target of {evidence.name(utterance)} spells {spelled[:40]!r}, the text is {text[:40]!r}"
            )
    if not lost:
        return None
    severity = Severity.ERROR if lost > 0.1 * letters else Severity.WARNING
    return Found(f"{lost} of {letters} letters and digits are missing or others: {example}.", severity)


def _row(evidence: Evidence, utterance: int) -> list[int]:
    return evidence.targets[utterance, : int(evidence.target_lengths[utterance])].tolist()


def _letters(text: str) -> str:
    """Case, spaces, punctuation and marks such as <s> left out."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _plain(label: str) -> str:
    return "" if label[:1] in "<[" and len(label) > 1 else label
