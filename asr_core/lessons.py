"""CTC in six short steps, told with the numbers of one recording. Frames are counted from 1 in the words, as in the view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from asr_core.alignment import Span
from asr_core.decoding import collapse, greedy_path
from asr_core.transcription import Transcription

LONGEST_S = 120.0  # the sum over all paths takes time and memory with the square of the length
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class LessonError(ValueError):
    """A recording that teaches nothing; the message says why."""


@dataclass(frozen=True)
class Lesson:
    """sentences: what there is to know, as plain text. question: something to try in the view.
    focus: first and last frame, counted from 0, of what it talks about."""

    title: str
    sentences: tuple[str, ...]
    question: str
    focus: tuple[int, int]


class Heard:
    """The best path of a recording, and the numbers that the lessons tell."""

    def __init__(self, reading: Transcription) -> None:
        """Any reading of the recording. Raises LessonError when no letter was heard, or too many."""
        emission, sound = reading.emission, reading.sound
        if sound.duration_s > LONGEST_S:
            raise LessonError(
                f"This recording is {sound.duration_s:.0f} s long; the lessons take {LONGEST_S:.0f} s at most. "
                "Use a shorter one, or an example."
            )
        self.emission, self.sound = emission, sound
        self.alphabet, self.frames = emission.alphabet, len(emission)
        self.reading = Transcription.of_path(greedy_path(emission), emission, sound)
        self.path = self.reading.path
        self.tokens = collapse(self.path, self.alphabet.blank)  # L
        if not self.reading.words:
            raise LessonError("The model heard no letters in this recording. Speak, upload a file or pick an example.")
        self.best: Tensor = emission.log_probs.amax(-1)  # (T',) of the path's own tokens

    @property
    def blanks(self) -> int:
        return sum(token == self.alphabet.blank for token in self.path)

    @property
    def repeats(self) -> int:
        """R: tokens of the text that equal the one before."""
        return sum(left == right for left, right in pairwise(self.tokens))

    @property
    def paths(self) -> int:
        """How many paths of T frames collapse to the text: binom(T + L - R, 2 L)."""
        return math.comb(self.frames + len(self.tokens) - self.repeats, 2 * len(self.tokens))

    @property
    def path_cost(self) -> float:
        """-ln of the best path's probability, nats."""
        return -float(self.best.double().sum())

    def loss(self, scores: Tensor) -> float:
        """torch's CTC loss of the text, nats, whatever the scores (T', V) are."""
        counts = torch.tensor([self.frames]), torch.tensor([len(self.tokens)])
        targets = torch.tensor([self.tokens])
        return float(F.ctc_loss(scores[:, None], targets, *counts, blank=self.alphabet.blank, reduction="none"))

    @property
    def cost(self) -> float:
        """-ln of the probability of the text, nats: its loss, which only rounding takes below 0."""
        return max(0.0, self.loss(self.emission.log_probs))

    @property
    def kinds(self) -> str:
        """What the tokens are, but for the blank."""
        return (
            "the sounds or pieces of words that the model knows" if self.alphabet.space is None else "the letters, the space"
        )

    def name(self, token: int) -> str:
        if token == self.alphabet.blank:
            return "the blank"
        return _named(self.alphabet.labels[token])

    def top(self, frame: int) -> list[tuple[str, float]]:
        """The frame's tokens with their probabilities, best first."""
        values, tokens = self.emission.log_probs[frame].exp().sort(descending=True)
        return [(self.name(token), value) for token, value in zip(tokens.tolist(), values.tolist(), strict=True)]


def _named(label: str) -> str:
    return "the space" if label == " " else f"“{label.strip()}”"


def frames_and_probabilities(heard: Heard) -> Lesson:
    log_probs = heard.emission.log_probs
    entropy = -(log_probs.exp() * log_probs).nan_to_num().sum(-1)  # (T',)
    frame, sure = int(entropy.argmax()), int((heard.best > math.log(0.9)).sum())
    (first, one), (second, other), *_ = heard.top(frame)
    return Lesson(
        "Frames and probabilities",
        (
            f"The model cuts these {heard.sound.duration_s:.2f} seconds into {heard.frames} frames of "
            f"{1000 * heard.emission.frame_s:.0f} milliseconds.",
            f"In every frame it shares out 100 % among {len(heard.alphabet)} tokens: {heard.kinds}, and the "
            "blank, which means “nothing new”.",
            f"In {sure} of the frames one token has more than 90 %. In frame {frame + 1} the model is least sure: {first} "
            f"has {_percent(one)} and {second} {_percent(other)}.",
        ),
        f"Move over the frames around {frame + 1}. How far do you have to go until one token has more than 90 %?",
        (frame, frame),
    )


def best_token(heard: Heard) -> Lesson:
    span = heard.reading.tokens[0]
    return Lesson(
        "The best token of every frame",
        (
            f"Now keep only the most probable token of each frame: {heard.frames} tokens in a row, which are called a path.",
            f"{heard.blanks} of them are the blank, drawn as a dot; {heard.frames - heard.blanks} name a letter or a space.",
            f"The first that is not the blank is {_quoted(span)} in frame {span.first + 1}, with a probability of "
            f"{_percent(math.exp(heard.best[span.first]))}.",
            "The letters come as short spikes, with blanks between them: the model says a letter when it is sure of it, "
            "not for as long as it sounds.",
        ),
        f"Move to frame {span.first + 1}: which token came second?",
        (span.first, span.last),
    )


def merge_and_drop(heard: Heard) -> Lesson:
    kept = len(heard.tokens)
    merged = heard.frames - heard.blanks - kept
    span = max(heard.reading.tokens, key=_frames)
    if merged:
        example = f"Frames {span.first + 1} to {span.last + 1} all name {_quoted(span)}: they become one."
    else:
        example = "No letter is named twice in a row in this recording, so there is nothing to merge."
    return Lesson(
        "Merge, then drop",
        (
            f"Two rules turn the path into text. First, equal neighbours are merged into one. {example}",
            "Then the blanks are dropped.",
            f"Of {heard.frames} frames, {merged} repeats are merged and {heard.blanks} blanks dropped: {kept} tokens stay.",
            f"They read “{heard.reading.text}”.",
        ),
        f"Move over frame {span.last + 1}: which rule applied?",
        (span.first, span.last),
    )


def doubles(heard: Heard) -> Lesson:
    title = "Why double letters need a blank"
    for left, right in pairwise(heard.reading.tokens):
        if left.label == right.label != " ":
            text = next((w.label for w in heard.reading.words if w.first <= left.first <= w.last), left.label * 2)
            blanks = right.first - left.last - 1
            keep = "The blank between them keeps" if blanks == 1 else f"The {blanks} blanks between them keep"
            return Lesson(
                title,
                (
                    f"In “{text}” there are two {_quoted(left)} in a row: one ends in frame {left.last + 1}, the other "
                    f"begins in frame {right.first + 1}.",
                    f"{keep} them apart. Had {_quoted(left)} been named there too, all would have been merged into one, "
                    "and a letter would be missing.",
                    "So a text needs a frame for every token, and one more for every token that equals the one before.",
                ),
                f"Move over frame {left.last + 2}: what does the blank there do?",
                (left.first, right.last),
            )
    span = max((token for token in heard.reading.tokens if token.label != " "), key=_frames)
    said = f"{_frames(span)} frames name {_quoted(span)}" if _frames(span) > 1 else f"1 frame names {_quoted(span)}"
    return Lesson(
        title,
        (
            "No letter is doubled in what was heard here, so let us see what it would take.",
            f"From frame {span.first + 1} on, {said}. However many they are, they are merged into one letter.",
            f"To write {_quoted(span)} twice, the path would have to say it, then a blank, and then say it again: three "
            "frames at least.",
            "So a text needs a frame for every token, and one more for every token that equals the one before.",
        ),
        "Record a word with a double letter, “hello” or “little”, and look for the blank in the middle.",
        (span.first, span.last),
    )


def sum_over_paths(heard: Heard) -> Lesson:
    loss, frame = heard.cost, int(heard.best.argmin())
    tokens, top = len(heard.tokens), heard.frames + len(heard.tokens) - heard.repeats
    return Lesson(
        "What the loss sums over",
        (
            f"The path in the view is not the only one that reads “{heard.reading.text}”: a letter may come a frame "
            "earlier or later, or last longer.",
            f"It has {tokens} tokens, {heard.repeats} of them equal to the one before, in {heard.frames} frames: "
            f"binom({top}, {2 * tokens}) = {_count(heard.paths)} paths collapse to it.",
            f"The best of them has a probability of {_chance(heard.path_cost)}, all of them together {_chance(loss)}: "
            f"{_times(heard.path_cost - loss)} as much.",
            f"The CTC loss is minus the logarithm of that sum: {loss:.2f} nats, or {loss / tokens:.2f} for each token.",
        ),
        f"Frame {frame + 1} is where the best path is least sure. Which other token would another path say there?",
        (frame, frame),
    )


def never_negative(heard: Heard) -> Lesson:
    log_probs = heard.emission.log_probs
    frame = int(heard.best.argmax())
    loss, wrong = heard.cost, heard.loss(log_probs.exp())
    least = float(log_probs.min())
    lowest = f"−{-least:.1f}" if least > -math.inf else "−∞, which is a probability of 0,"
    return Lesson(
        "Why the loss is never negative",
        (
            "No probability is above 1, so no log-probability is above 0. Here they run from "
            f"{lowest} to {_below_zero(float(log_probs.max()))}.",
            "All paths of all texts together have a probability of exactly 1. The paths of one text are some of them, so "
            "their sum is at most 1.",
            f"The loss is minus the logarithm of that sum, so it cannot be below 0: here it is {loss:.2f} nats.",
            "Softmax in place of log_softmax gives the loss numbers between 0 and 1 that it takes for logarithms. It then "
            f"says {_signed(wrong)} nats{', which no probability has' if wrong < 0 else ''}.",
        ),
        "Open the tab “Break it” and choose the first mistake: there the negative loss is made for real.",
        (frame, frame),
    )


LESSONS: tuple[Callable[[Heard], Lesson], ...] = (
    frames_and_probabilities,
    best_token,
    merge_and_drop,
    doubles,
    sum_over_paths,
    never_negative,
)


def _frames(span: Span) -> int:
    return span.last - span.first + 1


def _quoted(span: Span) -> str:
    return _named(span.label)


def _count(number: int) -> str:
    """1,234 or, from a million on, a power of ten."""
    return f"{number:,}" if number < 1_000_000 else f"about {_power(math.log10(number))}"


def _chance(nats: float) -> str:
    """exp(-nats) as a percentage, or as one in so many."""
    return f"{100 * math.exp(-nats):.1f} %" if nats < math.log(1000) else f"one in {_power(nats / math.log(10))}"


def _times(nats: float) -> str:
    """exp(nats) as a factor."""
    if nats < math.log(10):
        return f"{math.exp(nats):.1f} times"
    return f"{math.exp(nats):,.0f} times" if nats < math.log(1e6) else f"{_power(nats / math.log(10))} times"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _power(exponent: float) -> str:
    """10 to the exponent, as 2.4 · 10¹³."""
    return f"{10 ** (exponent % 1):.1f} · 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _below_zero(value: float) -> str:
    """The greatest log-probability, with as many digits as show that it is not quite 0."""
    return "0" if value > -1e-6 else f"−{-value:.1g}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
