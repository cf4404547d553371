"""A Transcription as a file in other people's formats: text, SRT and VTT captions, CTM, Praat's TextGrid, JSON."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from asr_core.alignment import CONVENTIONS, SCORE, Span
from asr_core.reference import Reference
from asr_core.tracks import TimedWord
from asr_core.transcription import Transcription
from asr_core.viewer.offline import replay
from asr_core.viewer.payload import Lane, answer_in

# Captions are timed in whole milliseconds, as SRT, VTT and CTM write them.
MS = 1_000  # a second
LINE = 42  # characters
LINES = 2
LONGEST = 6 * MS
PAUSE = 700  # ms of silence after which a new caption begins

US = 1_000_000  # microseconds a second: TextGrid's


def export(transcription: Transcription, format: str) -> str:
    """The contents of a file in one of FORMATS."""
    if format not in FORMATS:
        raise ValueError(f"There is no export format {format!r}. There are: {', '.join(FORMATS)}.")
    _, write = FORMATS[format]
    return write(transcription)


def as_dict(transcription: Transcription, reference: Reference | None = None) -> dict:
    """Transcription.as_dict; with the reference that it is the alignment of: its figures, and each token's cost in nats."""
    content = transcription.as_dict()
    if reference:
        content["reference"] = reference.summary()
        for token, cost in zip(content["tokens"], reference.costs, strict=True):
            token["cost"] = round(cost, 4)
    return content


def as_json(transcription: Transcription, with_emission: bool = False, reference: Reference | None = None) -> str:
    """as_dict. With its emission: log_probs (T', V), in which null is a probability of zero."""
    content = as_dict(transcription, reference)
    if with_emission:
        emission = transcription.emission
        content["emission"] = {
            "labels": emission.alphabet.labels,
            "blank": emission.alphabet.blank,
            "frame_s": emission.frame_s,
            "log_probs": [
                [round(value, 4) if value > -math.inf else None for value in frame]  # JSON has no infinity
                for frame in emission.log_probs.tolist()
            ],
        }
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def _as_text(transcription: Transcription) -> str:
    return f"{transcription.text}\n"


def _as_srt(transcription: Transcription) -> str:
    # SRT has no comments, in which the span convention could be stated, and no escapes.
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n"
        for number, (start, end, text) in enumerate(_captions(transcription), 1)
    )


def _as_vtt(transcription: Transcription) -> str:
    blocks = ["\n".join(["NOTE", *_definitions(transcription)])]
    for start, end, text in _captions(transcription):
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")  # which leaves no "-->" either
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}")
    return "WEBVTT\n\n" + "\n\n".join(blocks) + "\n"


def _as_ctm(transcription: Transcription) -> str:
    times = _apart(transcription.words, _length(transcription, MS), MS)
    name = re.sub(r"\s+", "_", transcription.sound.name)
    lines = [f";; {definition}" for definition in _definitions(transcription)]
    for word, (start, end) in zip(transcription.words, times, strict=True):
        lines.append(f"{name} 1 {start / MS:.3f} {(end - start) / MS:.3f} {_label(word)} {word.score:.4f}")
    return "\n".join(lines) + "\n"


def _as_textgrid(transcription: Transcription) -> str:
    """A tier of words and one of letters, in which spaces are gaps."""
    letters = [token for token in transcription.tokens if token.label != " "]
    tiers = [(f"words ({transcription.convention})", in_one_column(transcription.words))]
    tiers += [(f"letters ({transcription.convention})", in_one_column(letters))]
    return textgrid(tiers, _length(transcription, US))


def textgrid(tiers: Sequence[tuple[str, Sequence[TimedWord]]], length: int) -> str:
    """Tiers (name, spans) in Praat's long text format, from 0 to `length` microseconds, of which each span needs one."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {length / US:.6f}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, spans) in enumerate(tiers, 1):
        intervals = _tiled(spans, length)
        name = name.replace('"', '""')
        lines += [f"    item [{number}]:", '        class = "IntervalTier"']
        lines += [f'        name = "{name}"', "        xmin = 0"]
        lines += [f"        xmax = {length / US:.6f}", f"        intervals: size = {len(intervals)}"]
        for index, (start, end, label) in enumerate(intervals, 1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{index}]:", f"            xmin = {start / US:.6f}"]
            lines += [f"            xmax = {end / US:.6f}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def in_one_column(spans: Sequence[Span]) -> list[TimedWord]:
    """Spans as the tiers of a TextGrid have them."""
    return [TimedWord(_label(span), span.start_s, span.end_s) for span in spans]


def _definitions(transcription: Transcription) -> list[str]:
    return [f"score: {SCORE}", f"spans: {transcription.convention}: {CONVENTIONS[transcription.convention]}"]


def _captions(transcription: Transcription) -> list[tuple[int, int, str]]:
    """Start, end (ms) and lines of each caption. A word longer than a line or a caption has one to itself.

    No caption stays for more than LONGEST, not even for such a word.
    """
    times = _apart(transcription.words, _length(transcription, MS), MS)
    captions: list[tuple[int, int, list[str]]] = []
    for word, (start, end) in zip(transcription.words, times, strict=True):
        words = [_label(word)]
        if captions:
            first, last, before = captions[-1]
            if start - last < PAUSE and end - first <= LONGEST and len(_lines(before + words)) <= LINES:
                start, words = first, before + words
                captions.pop()
        captions.append((start, end, words))
    return [(start, min(end, start + LONGEST), "\n".join(_lines(words))) for start, end, words in captions]


def _lines(words: list[str]) -> list[str]:
    return textwrap.wrap(" ".join(words), LINE, break_long_words=False, break_on_hyphens=False)


def _label(span: Span) -> str:
    """On one line and in one column, whatever the alphabet's labels hold."""
    return re.sub(r"\s+", "_", span.label)


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, MS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{ms:03d}"


def _length(transcription: Transcription, a_second: int) -> int:
    """Ticks to the end of the sound, of which there are at least one and one a token."""
    return max(1, len(transcription.tokens), round(transcription.sound.end_s * a_second))


def _apart(spans: Sequence[Span | TimedWord], length: int, a_second: int) -> list[tuple[int, int]]:
    """(start, end) in ticks within [0, length]: rounded, and then moved so that none is empty and no two overlap.

    The frames past the last sample all end with it, and rounding empties short spans; Praat refuses both.
    """
    times, reached = [], 0
    for span in spans:
        start = max(reached, round(span.start_s * a_second))
        reached = max(start + 1, round(span.end_s * a_second))
        times.append((start, reached))
    for index in reversed(range(len(times))):  # bring back what now lies past the end
        start, end = times[index]
        end = min(end, length)
        length = min(start, end - 1)
        times[index] = length, end
    return times


def _tiled(spans: Sequence[TimedWord], length: int) -> list[tuple[int, int, str]]:
    """Intervals (start, end, label) that cover [0, length] microseconds, without a label where there is no span."""
    intervals, reached = [], 0
    for span, (start, end) in zip(spans, _apart(spans, length, US), strict=True):
        if start > reached:
            intervals.append((reached, start, ""))
        intervals.append((start, end, span.label))
        reached = end
    if reached < length:
        intervals.append((reached, length, ""))
    return intervals


FORMATS: Mapping[str, tuple[str, Callable[[Transcription], str]]] = MappingProxyType(
    {
        "text": (".txt", _as_text),
        "srt": (".srt", _as_srt),
        "vtt": (".vtt", _as_vtt),
        "ctm": (".ctm", _as_ctm),
        "textgrid": (".TextGrid", _as_textgrid),
        "json": (".json", as_json),
        "json-emission": (".json", lambda transcription: as_json(transcription, with_emission=True)),
    }
)
CHOICES = (*FORMATS, "html")  # what export_lanes makes


def ending(format: str) -> str:
    """Of a file's name, for one of CHOICES."""
    return ".html" if format == "html" else FORMATS[format][0]


def export_lanes(lanes: Sequence[Lane], format: str, convention: str = "spike") -> tuple[str, str]:
    """One or two readings -> (a file's name, its contents). "html" holds every lane; the other formats hold the typed
    sentence where there is one, else what was heard."""
    reference = lanes[-1].reference
    stem = "reference" if reference else "transcript"
    if format == "html":
        return f"{stem}{ending(format)}", replay(*lanes)
    reading = answer_in(lanes).with_convention(convention)
    if format.startswith("json"):
        content = as_json(reading, with_emission=format == "json-emission", reference=reference)
    else:
        content = export(reading, format)
    return f"{stem}.{convention}{ending(format)}", content
