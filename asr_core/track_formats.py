"""CTM, TextGrid, JSON, SRT and VTT -> words with their seconds, as they stand in the file. tracks.py says what makes sense.

The formats are a few lines each here: libraries for them read one or two, and raise anything for a file that is none.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType

Entry = tuple[str, float, float]  # label, start_s, end_s
SILENT = frozenset(("", "sil", "sp", "<eps>", "<sil>", "<p:>"))  # what aligners write where nobody speaks

NOT_WORDS = re.compile(r"phon|letter|syllab", re.IGNORECASE)  # names of tiers below the words
TEXTGRID_TOKEN = re.compile(r'"([^"]*(?:""[^"]*)*)"|![^\n]*|([^\s"=]+)|=')
CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
CUE = re.compile(rf"\s*{CLOCK}\s*-->\s*{CLOCK}")
SRT_MARKUP = re.compile(r"</?[ibu]>|</?font[^>]*>|\{\\[^}]*\}", re.IGNORECASE)
VTT_MARKUP = re.compile(r"<[^>]*>")

# What Whisper, WhisperX, Gentle, Gecko and our own export call things; the first that is there counts.
INNER = ("words", "word_segments", "segments", "monologues", "terms")
LABELS, STARTS, ENDS = ("label", "word", "text"), ("start_s", "start"), ("end_s", "end")


class TrackError(ValueError):
    """A file that holds no words with times, or none of this recording; the message says what it holds instead."""


def read_ctm(text: str, recording: str) -> tuple[list[Entry], str]:
    """NIST's: recording, channel, start, duration and word in each line, and after them perhaps more. `;;` begins a comment.

    Of several recordings in one file the one is taken that is called like `recording`.
    """
    found: dict[str, list[Entry]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split()
        if len(fields) < 5:
            raise TrackError(
                f"line {number} has {len(fields)} columns; expected recording, channel, start, duration and word."
            )
        start_s, duration_s = (_seconds(field, f"line {number}") for field in fields[2:4])
        found.setdefault(fields[0], []).append((fields[4], start_s, start_s + duration_s))
    if len(found) < 2:
        return next(iter(found.values()), []), ""
    wanted = _names("_".join(recording.split()))
    if name := next((name for name in found if _names(name) & wanted), None):
        return found[name], f"The words of “{name}” were read, of {len(found)} recordings in the file."
    listed = ", ".join(f"“{name[:40]}”" for name in list(found)[:5]) + (" and others" if len(found) > 5 else "")
    raise TrackError(
        f"it holds {len(found)} recordings, {listed}, and none is called “{recording[:60]}”. Keep the lines of this one."
    )


def _names(name: str) -> set[str]:
    """By which a recording may be called: its file's name with and without the ending."""
    return {name.lower(), PurePath(name).stem.lower()}


def read_textgrid(text: str, recording: str) -> tuple[list[Entry], str]:
    """Praat's text formats, long and short. As Praat itself does, only strings and numbers are heeded, in their order."""
    values = _textgrid_values(text)

    def take(kind: type[str] | type[float]) -> str | float:
        value = next(values, None)
        if not isinstance(value, kind):
            raise TrackError("it is no TextGrid as Praat writes it. Save it from Praat as a text file, long or short.")
        return value

    def count() -> int:
        return int(_seconds(take(float), "a number of intervals"))

    if (take(str), take(str)) != ("ooTextFile", "TextGrid"):
        raise TrackError("it is no TextGrid as Praat writes it. Save it from Praat as a text file, long or short.")
    take(float), take(float)  # from where to where
    tiers = []
    for _ in range(count()):
        kind, name, _, _ = take(str), take(str), take(float), take(float)
        if kind == "IntervalTier":
            intervals = [(take(float), take(float), take(str)) for _ in range(count())]
            tiers.append((name, _intervals(name, intervals)))
        else:  # points have no end
            for _ in range(count()):
                take(float), take(str)
    return _words_of(tiers)


def _textgrid_values(text: str) -> Iterator[str | float]:
    for token in TEXTGRID_TOKEN.finditer(text):
        if token[1] is not None:
            yield token[1].replace('""', '"')
        elif token[2]:
            try:
                yield float(token[2])
            except ValueError:
                continue  # "xmin", "[1]:", "<exists>": there for people


def _words_of(tiers: list[tuple[str, list[Entry]]]) -> tuple[list[Entry], str]:
    """The tier that is called words; of several, or where none is, the one that says most."""
    named = [tier for tier in tiers if "word" in tier[0].lower()]
    others = [tier for tier in tiers if not NOT_WORDS.search(tier[0])]
    candidates = named or others or tiers
    if not candidates:
        raise TrackError("it has no tier of intervals. Expected one with a word in each.")
    letters = [sum(len(label) for label, _, _ in entries if label not in SILENT) for _, entries in candidates]
    name, entries = candidates[letters.index(max(letters))]
    return entries, f"Tier “{name[:60]}” was read, of {len(tiers)}." if len(tiers) > 1 else ""


def read_json(text: str, recording: str) -> tuple[list[Entry], str]:
    """A list of {"word", "start", "end"}, alone or within what Whisper, WhisperX, Gentle, MFA, Gecko and export() write."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise TrackError(f"it is no JSON ({str(error)[:80]}).") from error
    if isinstance(content, dict) and isinstance(content.get("tiers"), dict):  # MFA's
        return _words_of([(name, _tier_of_json(name, tier)) for name, tier in content["tiers"].items()])
    entries, without = [], 0
    for number, leaf in enumerate(_leaves(content), 1):
        label, start, end = (_first(leaf, names) for names in (LABELS, STARTS, ENDS))
        if start is None or end is None:
            without += 1
        elif isinstance(label, str):
            entries.append((label, _seconds(start, f"word {number}"), _seconds(end, f"word {number}")))
    if not entries:
        raise TrackError(
            'no words with times were found in it. Expected a list of {"word": "cat", "start": 0.5, "end": 0.8}.'
        )
    return entries, f"{without} without times were left out." if without else ""


def _tier_of_json(name: str, tier: object) -> list[Entry]:
    entries = tier.get("entries") if isinstance(tier, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(each, list) and len(each) == 3 and isinstance(each[2], str) for each in entries
    ):
        raise TrackError(f"its tier “{name[:40]}” is no list of [start, end, label].")
    return _intervals(name, entries)


def _intervals(tier: str, intervals: list) -> list[Entry]:
    where = f"tier “{tier[:40]}”"
    return [(label, _seconds(start, where), _seconds(end, where)) for start, end, label in intervals]


def _leaves(content: object) -> Iterator[dict]:
    """The objects that hold no others: words, or segments whose words have no times."""
    if isinstance(content, list):
        for each in content:
            yield from _leaves(each)
    elif isinstance(content, dict):
        inner = next((content[name] for name in INNER if isinstance(content.get(name), list) and content[name]), None)
        if inner is None:
            yield content
        else:
            yield from _leaves(inner)


def _first(leaf: dict, names: tuple[str, ...]) -> object:
    return next((leaf[name] for name in names if leaf.get(name) is not None), None)


def read_srt(text: str, recording: str) -> tuple[list[Entry], str]:
    return _cues(text, lambda line: SRT_MARKUP.sub("", line)), ""


def read_vtt(text: str, recording: str) -> tuple[list[Entry], str]:
    return _cues(text, lambda line: html.unescape(VTT_MARKUP.sub("", line))), ""


def _cues(text: str, said: Callable[[str], str]) -> list[Entry]:
    """A line of times, and below it the words up to an empty line. said: takes the markup away."""
    cues, lines = [], enumerate(text.split("\n"), 1)
    for number, line in lines:
        if "-->" not in line:
            continue  # a number, a name, a comment
        times = CUE.match(line)
        if not times:
            raise TrackError(f"line {number} is no time of a caption; expected 00:00:01,500 --> 00:00:02,750.")
        start_s, end_s = (_clock(*times.groups()[at : at + 4]) for at in (0, 4))
        words = []
        for _, below in lines:
            if not below.strip():
                break
            words.append(said(below))
        cues.append((" ".join(words), start_s, end_s))
    return cues


def _clock(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return (int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)) + int(fraction.ljust(3, "0")) / 1000


def _seconds(value: object, where: str) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise TrackError(f"{where} has “{str(value)[:40]}” where seconds are expected, such as 1.25.")
    return seconds


READERS: Mapping[str, Callable[[str, str], tuple[list[Entry], str]]] = MappingProxyType(
    {".ctm": read_ctm, ".textgrid": read_textgrid, ".json": read_json, ".srt": read_srt, ".vtt": read_vtt}
)
