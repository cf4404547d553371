"""Readings of a recording -> what the alignment view draws: a small JSON object.

Numbers travel as base64(zlib(bytes)), never as lists: posteriors (T', V) uint8, the square root of the probability in
255ths, which keeps small probabilities apart; mel (T, M) uint8; the path (T',) uint16; spans as columns. Of a part of a
recording, frames and times are counted from its start, which is at start_s. Of a track: the times of its words, and rows
of [first, stop) of the words heard, the track's word or -1, and which of "kinds" they are. No key is called "path": Gradio
takes such an object for a file.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.alignment import CONFIDENCE, CONVENTIONS, SCORE, Span
from asr_core.boundaries import KINDS, THRESHOLD_MS, compare
from asr_core.comparison import Difference, differences
from asr_core.decoding import greedy_path
from asr_core.emission import Emission
from asr_core.reference import Reference
from asr_core.tracks import Track
from asr_core.transcription import Transcription

VERSION = 6
MEL_RANGE = (-1.6, 2.4)  # normalised log-mel values shown as darkest and brightest


@dataclass(frozen=True, eq=False)
class Lane:
    """One reading, as a lane of the view. reference: what it was aligned from, when somebody typed it. focus: first and
    last frame that the view is brought to, of at most one lane. track: times from elsewhere, of the first lane."""

    name: str
    reading: Transcription
    reference: Reference | None = None
    focus: tuple[int, int] | None = None
    track: Track | None = None


def reference_lanes(reference: Reference) -> tuple[Lane, Lane]:
    """What was heard, and below it the typed sentence with its costs and figures."""
    return Lane("heard", reference.heard), Lane("reference", reference.aligned, reference)


def heard_in(lanes: Sequence[Lane]) -> Transcription:
    """What the lanes say was heard: beside a typed sentence or another model the first lane; of two readings of one
    emission the second, since what a language model mended stands below the bare letters."""
    first, last = lanes[0], lanes[-1]
    one_emission = first.reading.emission is last.reading.emission
    return last.reading if one_emission and last.reference is None else first.reading


def answer_in(lanes: Sequence[Lane]) -> Transcription:
    """What files hold and a track is compared with: the typed sentence where there is one, else what was heard."""
    return lanes[-1].reading if lanes[-1].reference else heard_in(lanes)


def payload(*lanes: Lane) -> dict:
    """One or two lanes of the same recording -> everything the view needs but the sound itself.

    The caller adds the sound under "audio" as {"url": ...}, or None where it is not at hand; then the mel has no frames.
    """
    sound = lanes[0].reading.sound
    low, high = MEL_RANGE
    mel = (sound.features[:] - low) / (high - low)  # (T, M)
    emissions = list({id(lane.reading.emission): lane.reading.emission for lane in lanes}.values())
    found: tuple[Difference, ...] = ()
    if len(lanes) == 2:
        found = differences(lanes[0].reading, lanes[1].reading)
    return {
        "version": VERSION,
        "start_s": sound.start_s,
        "duration_s": sound.duration_s,
        "part": {"number": sound.part.number, "count": sound.part.count},
        "score": SCORE,
        "confidence": CONFIDENCE,
        "conventions": CONVENTIONS,
        "convention": lanes[0].reading.convention,
        "mel": {"frames": mel.shape[0], "bins": mel.shape[1], "frame_s": sound.frame_s, "values": _pack(_as_bytes(mel))},
        "emissions": [_emission(emission) for emission in emissions],
        "lanes": [_lane(lane, emissions, sound.start_s) for lane in lanes],
        "differences": [
            {
                "kind": each.kind,
                "first": each.first,
                "second": each.second,
                "start_s": each.start_s - sound.start_s,
                "end_s": each.end_s - sound.start_s,
            }
            for each in found
        ],
        "track": _track(lanes[0].track, lanes) if lanes[0].track else None,
        "focus": next(
            (
                {"lane": index, "first": lane.focus[0], "last": lane.focus[1]}
                for index, lane in enumerate(lanes)
                if lane.focus
            ),
            None,
        ),
    }


def _track(track: Track, lanes: Sequence[Lane]) -> dict:
    answer = answer_in(lanes)
    rows, heard, words = [], 0, 0  # how many are before each row
    for row in compare(answer, track).rows:
        rows.append((heard, heard + len(row.heard), words if row.reference else -1, KINDS.index(row.kind)))
        heard += len(row.heard)
        words += row.reference is not None
    times = np.array([[word.start_s, word.end_s] for word in track.words]) - answer.sound.start_s
    return {
        "name": track.name,
        "lane": next(index for index, lane in enumerate(lanes) if lane.reading is answer),
        "labels": [word.label for word in track.words],
        "times": _pack(times.astype("<f4")),
        "rows": _pack(np.array(rows, "<i4")),
        "kinds": KINDS,
        "threshold_ms": THRESHOLD_MS,
    }


def _emission(emission: Emission) -> dict:
    return {
        "frames": len(emission),
        "frame_s": emission.frame_s,
        "labels": list(emission.alphabet.labels),
        "blank": emission.alphabet.blank,
        "posteriors": _pack(_as_bytes(emission.log_probs.exp().sqrt().numpy())),  # (T', V)
    }


def _lane(lane: Lane, emissions: list[Emission], origin_s: float) -> dict:
    reading = lane.reading
    placed = {convention: reading.with_convention(convention) for convention in CONVENTIONS}
    return {
        "name": lane.name,
        "note": _note(lane.reference),
        "text": reading.text,
        "emission": next(index for index, emission in enumerate(emissions) if emission is reading.emission),
        "greedy": reading.path == greedy_path(reading.emission),
        "frame_tokens": _pack(np.array(reading.path, "<u2")),
        "tokens": _columns(reading.tokens, {name: each.tokens for name, each in placed.items()}, origin_s),
        "words": {
            **_columns(reading.words, {name: each.words for name, each in placed.items()}, origin_s),
            "confidence": _pack(_as_bytes(np.array([word.confidence for word in reading.words]))),
        },
        "costs": _pack(np.array(lane.reference.costs if lane.reference else [], "<f4")),
        "warnings": {  # index of a word -> sentence; as text, since Gradio's JSON has no other keys
            name: {str(index): sentence for index, sentence in each.warnings.items()} for name, each in placed.items()
        },
    }


def _note(reference: Reference | None) -> str:
    """The figures of a reference, in words."""
    if reference is None:
        return ""
    words, characters = reference.words, reference.characters
    return (
        f"CTC loss over all paths {reference.loss:.2f} nats, this best path alone {reference.path_cost:.2f}. "
        f"WER {words.rate:.0%}: {words.substitutions} substituted, {words.deletions} missing, {words.insertions} too many "
        f"of {words.reference} words. CER {characters.rate:.0%}: {characters.substitutions}, {characters.deletions}, "
        f"{characters.insertions} of {characters.reference} characters."
    )


def _columns(spans: Sequence[Span], placed: dict[str, Sequence[Span]], origin_s: float) -> dict:
    return {
        "labels": [span.label for span in spans],
        "first": _pack(np.array([span.first for span in spans], "<u4")),
        "last": _pack(np.array([span.last for span in spans], "<u4")),
        "score": _pack(_as_bytes(np.array([span.score for span in spans]))),
        "times": {  # start_s, end_s of each span in turn
            name: _pack((np.array([[span.start_s, span.end_s] for span in of]) - origin_s).astype("<f4"))
            for name, of in placed.items()
        },
    }


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """[0, 1] -> uint8, rounded; what lies outside is clipped."""
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()
