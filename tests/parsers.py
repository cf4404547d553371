"""Captions, CTM and TextGrid read back by other people's parsers, two of each where there are two."""

import html
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pysubs2
import srt
import textgrid
import webvtt
from praatio import textgrid as praatio

from asr_core.export import export
from asr_core.transcription import Transcription


def cues(transcription: Transcription, kind: str) -> list[tuple[int, int, str]]:
    """(start, end) in ms and text, on which two parsers of the format agree."""
    written = export(transcription, kind)
    if kind == "srt":
        subtitles = list(srt.parse(written))
        assert [subtitle.index for subtitle in subtitles] == list(range(1, len(subtitles) + 1))
        found = [
            (round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000), cue.content)
            for cue in subtitles
        ]
    else:
        captions = webvtt.from_string(written, strict=True).captions
        found = [
            (cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds(), html.unescape(cue.raw_text))
            for cue in captions
        ]
    events = pysubs2.SSAFile.from_string(written, format_=kind, keep_html_tags=True)
    second = [(event.start, event.end, event.text.replace("\\N", "\n")) for event in events]
    if kind == "vtt":
        second = [(start, end, html.unescape(text)) for start, end, text in second]
    assert second == found
    return found


def ctm(written: str) -> tuple[list[str], list[SimpleNamespace]]:
    """Comments and words, as sclite's manual describes the format."""
    lines = written.splitlines()
    comments = [line for line in lines if line.startswith(";;")]
    words = []
    for line in lines[len(comments) :]:
        recording, channel, start, duration, label, score = line.split()
        assert (recording, channel) == ("recording", "1")
        words.append(SimpleNamespace(start=float(start), duration=float(duration), label=label, score=float(score)))
    return comments, words


def in_one_column(label: str) -> str:
    return re.sub(r"\s+", "_", label)


def tiers(transcription: Transcription) -> tuple[float, list[tuple[str, list[tuple[float, float, str]]]]]:
    """A TextGrid's end and (name, intervals) of each tier, on which praatio and textgrid agree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.TextGrid"
        path.write_text(export(transcription, "textgrid"), encoding="utf-8")
        ours = praatio.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
        assert ours.validate("error")
        grid = textgrid.TextGrid()  # refuses intervals that overlap
        grid.read(path, round_digits=9)
    assert (grid.minTime, ours.minTimestamp) == (0, 0)
    assert grid.maxTime == ours.maxTimestamp
    found = []
    for tier, name in zip(grid.tiers, ours.tierNames, strict=True):
        intervals = [(interval.minTime, interval.maxTime, interval.mark) for interval in tier.intervals]
        assert (tier.name, intervals) == (name, [tuple(entry) for entry in ours.getTier(name).entries])
        found.append((name, intervals))
    return grid.maxTime, found
