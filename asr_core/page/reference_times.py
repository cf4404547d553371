"""In the tab "Read": a file of words with times beside what was heard, as a lane of the view, a table, and files of both."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.events import Dependency

from asr_core.boundaries import THRESHOLD_MS, Comparison, Row, compare
from asr_core.page.explorer import LATEST, READ, Explorer
from asr_core.page.plain import plain
from asr_core.track_formats import READERS
from asr_core.tracks import TrackError, load
from asr_core.viewer.parts import Parts, beside
from asr_core.viewer.payload import Lane, answer_in

MOST_ROWS = 100  # of the table; the file has them all
WAITING = "There is no recording yet: its words will be compared with these times."
VERDICTS = {"missing": "not heard", "added": "not in the reference", "different": "another word"}
SAVES = {"merge": "Merge, TextGrid", "differences": "Differences, TSV"}


def build(
    tab: gr.Tab, explorer: Explorer, convention: gr.State, compared_anew: Sequence[Dependency]
) -> list[tuple[gr.Button, str]]:
    """compared_anew: events after which other words or other times are compared. Returns buttons, each with the name of the
    file that it makes."""

    def place(path: str | None, lanes: list[Lane] | None, parts: Parts | None, request: gr.Request) -> tuple:
        """The view and the lanes with what is in the file beside them, or without what was; and why there is nothing."""
        if path:
            explorer.visits.note(request, path)
        if lanes is None or parts is None:
            return *(gr.skip(),) * 3, WAITING if path else ""
        track, problem = None, ""
        try:
            track = load(path, parts.lanes[0].reading.sound) if path else None
        except TrackError as error:
            problem = f"**{plain(str(error))}**"
        if track == parts.lanes[0].track:
            return *(gr.skip(),) * 3, problem
        lanes = beside(lanes, track)
        return lanes if explorer.still_shows(request, READ) else gr.skip(), lanes, Parts(beside(parts.lanes, track)), problem

    def tell(lanes: list[Lane] | None, parts: Parts | None, convention: str) -> tuple:
        """The table: of the typed sentence in the part in the view, or of what was heard in the whole recording."""
        if lanes is None or parts is None or lanes[0].track is None:
            return "", *(gr.update(visible=False),) * len(SAVES)
        of = lanes if lanes[-1].reference else parts.lanes
        comparison = compare(answer_in(of).with_convention(convention), of[0].track)
        return table(comparison), *(gr.update(visible=True),) * len(SAVES)

    file = gr.File(
        label="Reference times (CTM, TextGrid, JSON, SRT, VTT)", file_types=list(READERS), type="filepath", height=100
    )
    problem = gr.Markdown()
    with gr.Row():
        saves = [(gr.Button(label, size="sm", min_width=60, visible=False), name) for name, label in SAVES.items()]
    words = gr.Markdown(elem_id="reference-times")

    lanes, parts = explorer.lanes, explorer.parts
    asked, shown = [file, lanes, parts], [explorer.view, lanes, parts, problem]
    told = {"inputs": [lanes, parts, convention], "outputs": [words, *(button for button, _ in saves)]}
    *heard, turned = explorer.changed
    for trigger in (file.change, tab.select, *(event.success for event in heard)):
        trigger(place, asked, shown, **LATEST).success(tell, **told, **LATEST)
    for event in (turned, *compared_anew):
        event.success(tell, **told, **LATEST)
    return saves


def table(comparison: Comparison) -> str:
    """How far the words are apart, as Markdown: in figures, and word by word. Of many words, those that disagree."""
    rows, disagreements = comparison.rows, comparison.disagreements
    shown = rows if len(rows) <= MOST_ROWS else disagreements[:MOST_ROWS]
    figures = [f"**{plain(comparison.track.name)}**: {len(disagreements)} of {len(rows)} disagree with what was heard."]
    if comparison.median_start_ms is not None:
        figures.append(
            f"Where the words are the same, their starts are {comparison.median_start_ms:g} ms apart and their ends "
            f"{comparison.median_end_ms:g} ms (medians)."
        )
    figures += [plain(comparison.track.note)] if comparison.track.note else []
    if len(shown) < len(rows):
        figures.append(f"Below are {len(shown)} that disagree; the differences as a file have all.")
    lines = [
        "| at, s | heard | reference | start, ms | end, ms | verdict |",
        "|---:|---|---|---:|---:|---|",
        *map(_line, shown),
    ]
    note = f"Heard minus reference; spans by {comparison.reading.convention}. Over {THRESHOLD_MS} ms is a disagreement."
    return "\n\n".join([" ".join(figures), "\n".join(lines), note])


def _line(row: Row) -> str:
    at_s = row.reference.start_s if row.reference else row.heard[0].start_s
    verdict = VERDICTS.get(row.kind, f"over {THRESHOLD_MS} ms" if row.disagrees else "")
    texts = [plain(text[:100]) for text in (row.text, row.reference.label if row.reference else "")]
    return "| " + " | ".join([f"{at_s:.2f}", *texts, _signed(row.start_ms), _signed(row.end_ms), verdict]) + " |"


def _signed(ms: int | None) -> str:
    return "" if ms is None else f"{ms:+d}".replace("-", "−") if ms else "0"
