"""What was heard and a reference track in one file: a TextGrid with a tier of each, or a table of their differences."""

from __future__ import annotations

from collections.abc import Sequence

from asr_core.boundaries import Comparison, compare
from asr_core.export import US, in_one_column, textgrid
from asr_core.viewer.payload import Lane, answer_in

FORMATS = {"merge": ".TextGrid", "differences": ".tsv"}
COLUMNS = ("heard", "reference", "kind", "start_difference_ms", "end_difference_ms")
COLUMNS += ("heard_start_s", "heard_end_s", "reference_start_s", "reference_end_s")


def merge(comparison: Comparison) -> str:
    """A TextGrid for Praat: the words heard, and below them those of the track. Intervals never overlap in Praat: words
    of a track that do are moved apart."""
    reading, track = comparison.reading, comparison.track
    end_s = max([reading.sound.end_s, *(word.end_s for word in track.words)])
    length = max(round(end_s * US), len(reading.words), len(track.words), 1)
    return textgrid([(f"words ({reading.convention})", in_one_column(reading.words)), (track.name, track.words)], length)


def differences(comparison: Comparison) -> str:
    """Tab-separated: a line for each row, with times to the millisecond. Where a side has no word, its columns are empty."""
    lines = ["\t".join(COLUMNS)]
    for row in comparison.rows:
        heard = (row.heard[0].start_s, row.heard[-1].end_s) if row.heard else (None, None)
        reference = (row.reference.start_s, row.reference.end_s) if row.reference else (None, None)
        texts = [" ".join(text.split()) for text in (row.text, row.reference.label if row.reference else "")]
        distances = ["" if ms is None else str(ms) for ms in (row.start_ms, row.end_ms)]
        times = ["" if time_s is None else f"{time_s:.3f}" for time_s in (*heard, *reference)]
        lines.append("\t".join([*texts, row.kind, *distances, *times]))
    return "\n".join(lines) + "\n"


def export_merge(lanes: Sequence[Lane], format: str, convention: str = "spike") -> tuple[str, str]:
    """Lanes with a track, in one of FORMATS -> (a file's name, its contents)."""
    comparison = compare(answer_in(lanes).with_convention(convention), lanes[0].track)
    return f"{format}.{convention}{FORMATS[format]}", (merge if format == "merge" else differences)(comparison)
