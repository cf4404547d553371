"""Frames -> tokens -> words: which frames made which letter, when, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np
import torch

from asr_core.ctc import frames_needed
from asr_core.emission import Emission
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.viterbi import Lattice, best_path, last_reached

SCORE = "mean posterior probability of the token, over the span's own frames"
CONFIDENCE = "how probable it is that the word is right, as found on speech with transcripts; where it was not, its score"

# CTC marks a letter by a spike of a frame or two. Where the letter begins and ends is a convention; these are ours.
CONVENTIONS = {
    "spike": "from the first to the last frame that the letter itself was the path's token",
    "boundary": "the spike, widened to the middle of the gap to each neighbour, by at most 0.25 s",
    "energy": "the spike, widened while the sound stays above a third of the recording's loudness, no further than boundary",
}
MAX_REACH_S = 0.25
ENERGY_THRESHOLD = 1 / 3  # of Sound.loudness

MOST_CELLS = 2**28  # of frames times states, in an alignment: the CTC loss takes a gigabyte for them

LONG_WORD_S = 3.0
FAST_LETTERS = 30.0  # a second
SILENCE = 0.1  # of Sound.loudness


class AlignmentError(ValueError):
    """A text that cannot be aligned with the audio; the message says why, with both numbers or the place in the text."""


@dataclass(frozen=True, slots=True)  # a long recording has a hundred thousand
class Span:
    """A token or a word on the time axis.

    first, last: its own frames, both included. start_s, end_s: its seconds, by one of CONVENTIONS. In a part of a recording
    the frames are counted from the part's first, and the seconds are those of the whole recording.
    score: the posterior probability of the token, averaged over its own frames; a word's is averaged over the frames of
    its tokens, leaving out the blanks between them.
    confidence: of a word, how probable it is that it is right (calibration); its score where nothing was calibrated.
    """

    label: str
    first: int
    last: int
    start_s: float
    end_s: float
    score: float
    confidence: float | None = None


def token_spans(emission: Emission, path: Sequence[int], sound: Sound, convention: str = "spike") -> tuple[Span, ...]:
    """The tokens that survive the collapse of `path` (T',), each with the run of frames that was merged into it."""
    runs: list[tuple[int, int, int]] = []  # token, first frame, last frame
    frame = 0
    for token, run in groupby(path):
        first, frame = frame, frame + len(list(run))
        if token != emission.alphabet.blank:
            runs.append((token, first, frame - 1))
    spikes = [
        # The last frame may reach past the last sample.
        tuple(min(sound.start_s + frame * emission.frame_s, sound.end_s) for frame in (first, last + 1))
        for _, first, last in runs
    ]
    on_path = emission.log_probs.gather(1, torch.tensor(path, dtype=torch.long)[:, None])[:, 0].exp().tolist()  # (T',)
    return tuple(
        Span(emission.alphabet.labels[token], first, last, *times, fmean(on_path[first : last + 1]))
        for (token, first, last), times in zip(runs, _widen(spikes, sound, convention), strict=True)
    )


def _widen(spikes: list[tuple[float, float]], sound: Sound, convention: str) -> list[tuple[float, float]]:
    """(start_s, end_s) of each spike -> the same by a convention."""
    if convention not in CONVENTIONS:
        raise ValueError(f"There is no span convention {convention!r}. There are: {', '.join(CONVENTIONS)}.")
    if convention == "spike":
        return spikes
    widened = []
    for index, (start_s, end_s) in enumerate(spikes):
        before = (spikes[index - 1][1] + start_s) / 2 if index else sound.start_s
        after = (end_s + spikes[index + 1][0]) / 2 if index + 1 < len(spikes) else sound.end_s
        earliest, latest = max(before, start_s - MAX_REACH_S), min(after, end_s + MAX_REACH_S)
        if convention == "energy":
            earliest = _while_loud(sound, start_s, earliest)
            latest = _while_loud(sound, end_s, latest)
        widened.append((earliest, latest))
    return widened


def _while_loud(sound: Sound, from_s: float, to_s: float) -> float:
    """How far one gets from `from_s` towards `to_s`, in whole feature frames, before the sound falls quiet."""
    backwards = to_s < from_s
    near, far = sound.frame_at(from_s), sound.frame_at(to_s)
    passed = sound.loudness[far:near][::-1] if backwards else sound.loudness[near:far]
    quiet = np.flatnonzero(passed < ENERGY_THRESHOLD)
    if not len(quiet):
        return to_s
    reached = int(quiet[0]) * sound.frame_s
    return max(from_s - reached, to_s) if backwards else min(from_s + reached, to_s)


def word_spans(tokens: Sequence[Span]) -> tuple[Span, ...]:
    """Tokens from one that begins with a space to the next, joined: from the start of the first to the end of the last. A
    token that writes nothing but the space is in no word."""
    parts: list[list[Span]] = [[]]
    for token in tokens:
        if token.label.startswith(" "):
            parts.append([])
        if token.label.strip(" "):
            parts[-1].append(token)
    words = []
    for letters in filter(None, parts):
        frames = [letter.last - letter.first + 1 for letter in letters]
        score = sum(letter.score * count for letter, count in zip(letters, frames, strict=True)) / sum(frames)
        label = "".join(letter.label for letter in letters).strip(" ")
        first, last = letters[0], letters[-1]
        words.append(Span(label, first.first, last.last, first.start_s, last.end_s, score, confidence=score))
    return tuple(words)


def forced_path(emission: Emission, tokens: Sequence[int]) -> tuple[int, ...]:
    """The most probable path (T',) that collapses to `tokens` (Viterbi). Raises AlignmentError when none fits, or when the
    probability of all that do is zero."""
    if not tokens:
        raise AlignmentError("There is nothing to align: the text is empty.")
    require_room(len(emission), len(tokens), emission.frame_s)
    targets = torch.tensor([tokens])  # (1, L)
    needed = int(frames_needed(targets, torch.tensor([len(tokens)])))
    if needed > len(emission):
        kind = "tokens" if emission.alphabet.space is None else "letters and spaces"
        raise AlignmentError(
            f"The text is too long for the audio: its {len(tokens)} {kind} need at least {needed} frames "
            f"({needed * emission.frame_s:.1f} s), and there are {len(emission)} ({len(emission) * emission.frame_s:.1f} s)."
        )
    lattice = Lattice.of_text(tokens, emission.alphabet.blank)
    path = best_path(emission.log_probs.numpy(), lattice)
    if path is None:
        raise AlignmentError(_why_impossible(emission, tokens, lattice))
    return path


def _why_impossible(emission: Emission, tokens: Sequence[int], lattice: Lattice) -> str:
    """Of a text whose paths all have a probability of zero: the first token that no path can say at its place."""
    spoilt = (~emission.log_probs.logsumexp(1).isfinite()).nonzero()[:, 0].tolist()
    if spoilt:
        return (
            f"In {len(spoilt)} of {len(emission)} frames the posteriors are NaN or all -inf, first in frame {spoilt[0] + 1} "
            f"({spoilt[0] * emission.frame_s:.2f} s). Make them anew."
        )
    remedy = "Correct the text there, or, if the posteriors were pruned, masked or rounded to zero, save them as they were."
    last = last_reached(emission.log_probs.numpy(), lattice)  # (N,)
    missing = np.flatnonzero(last[lattice.spelled] < 0)
    if not len(missing):  # all tokens have their places, but after the last there is always another
        ends_s = (int(last[lattice.ends].max()) + 1) * emission.frame_s
        return (
            f"{_named(emission.alphabet, tokens, len(tokens) - 1)} cannot be the end of the text: at {ends_s:.2f} s at the "
            f"latest the posteriors say another token. {remedy}"
        )
    index = int(missing[0])
    before = emission.alphabet.decode(tokens[:index]).lstrip()
    repeated = " and a blank" if index and tokens[index] == tokens[index - 1] else ""
    where = f"could follow “{'…' * (len(before) > 20)}{before[-20:]}”{repeated}" if before else "the text could begin with"
    return (
        f"{_named(emission.alphabet, tokens, index)} cannot be placed: its probability is zero in every frame that "
        f"{where}. {remedy}"
    )


def _named(alphabet: Alphabet, tokens: Sequence[int], index: int) -> str:
    """One token of a text, at the beginning of a sentence: its label, where it is, and its word."""
    labels = [alphabet.labels[token] for token in tokens]
    written = labels[index].strip(" ")
    text = "".join(labels)
    start = len("".join(labels[:index])) + (len(labels[index]) - len(labels[index].lstrip(" ")) if written else 0)
    character = f"character {start + 1 - (alphabet.opens_words and text.startswith(' '))} of the text"
    word = text[:start].rpartition(" ")[2] + text[start:].partition(" ")[0]
    word = word if len(word) <= 40 else f"{word[:40]}…"
    return f"“{written}” ({character}, in “{word}”)" if written else f"The space after “{word}” ({character})"


def require_room(frames: int, tokens: int, frame_s: float) -> None:
    """Raises AlignmentError for a text and a sound that are too long to be aligned in one go: memory and time grow with the
    product of both."""
    if frames * (2 * tokens + 1) > MOST_CELLS:
        raise AlignmentError(
            f"{tokens} letters and spaces and {frames * frame_s / 60:.0f} minutes of sound are too much to align in one go, "
            "which goes up to about ten minutes of speech. Cut both into parts, and align them part by part."
        )


def _letter_rate(word: Span) -> float:
    """Letters a second; 0 for one or two letters, which may well spike in neighbouring frames."""
    seconds = word.end_s - word.start_s
    return len(word.label) / seconds if len(word.label) > 2 and seconds > 0 else 0.0


def implausible(words: Sequence[Span], sound: Sound, by_letters: bool = True) -> dict[int, str]:
    """Index of a word -> why its times are hard to believe. by_letters: whether the tokens are letters; a piece of a word
    spikes in a frame or two, however many letters it writes, so that its rate says nothing."""
    reasons = {}
    for index, word in enumerate(words):
        seconds = word.end_s - word.start_s
        if seconds > LONG_WORD_S:
            reasons[index] = f"“{word.label}” lasts {seconds:.1f} s; a spoken word hardly lasts {LONG_WORD_S:.0f} s."
        elif by_letters and (rate := _letter_rate(word)) > FAST_LETTERS:
            reasons[index] = f"“{word.label}” is {rate:.0f} letters a second; nobody speaks over {FAST_LETTERS:.0f}."
        elif sound.loudest(word.start_s, word.end_s) < SILENCE:
            reasons[index] = f"“{word.label}” lies where the recording is silent."
    return reasons
