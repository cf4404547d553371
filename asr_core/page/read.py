"""The tab "Read": a typed sentence against the sound, files to take away, and how to read the view."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from asr_core.alignment import AlignmentError
from asr_core.export import export_lanes
from asr_core.merge import FORMATS as MERGED
from asr_core.merge import export_merge
from asr_core.page import reference_times
from asr_core.page.explorer import LATEST, Explorer
from asr_core.page.plain import plain
from asr_core.reference import align
from asr_core.text import TextError
from asr_core.viewer.parts import Parts, beside
from asr_core.viewer.payload import Lane, heard_in, reference_lanes

HOW_TO_READ = """
The model cuts the sound into short **frames** and names one **token** for each: a letter, a space, or the **blank**
(a grey dot), which means “nothing new”. Two rules turn frames into text: **equal neighbours are merged** into one
letter, then **blanks are dropped**. So a double letter needs a blank between its two halves. Move over the frames to see
the rule at work; click a letter or a word to hear it.
"""
SAVES = {"srt": "SRT", "vtt": "VTT", "ctm": "CTM", "textgrid": "TextGrid", "json": "JSON", "json-emission": "JSON, emission"}
SAVES |= {"html": "Offline page"}
NOTHING_YET = "There is no recording yet: speak, upload a file or pick an example first."
OFFER = "Use: "
# The browser fetches the file that the hidden File component was given.
DOWNLOAD = "(file) => Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name}).click()"


def build(tab: gr.Tab, explorer: Explorer) -> None:
    def align_reference(lanes: list[Lane] | None, parts: Parts | None, text: str) -> tuple:
        """The lanes with the typed sentence as the second, twice, and the button that offers a spelling. When it cannot be
        aligned, what was heard alone: an earlier sentence would look as if it were this one."""
        if lanes is None or parts is None:
            raise gr.Error(NOTHING_YET, print_exception=False)
        try:
            lanes = beside(reference_lanes(align(heard_in(lanes), text)), lanes[0].track)
        except (AlignmentError, TextError) as error:
            gr.Warning(plain(str(error)))
            offer = error.suggestion if isinstance(error, TextError) else ""
            heard = parts[lanes[0].reading.sound.part.number - 1] if lanes[-1].reference else gr.skip()
            return heard, heard, gr.update(visible=bool(offer), value=OFFER + offer)
        return lanes, lanes, gr.update(visible=False)

    def taker(name: str) -> Callable:
        """What a button does: makes a file of the typed sentence's alignment, or, when none was typed, of what was heard in
        the whole recording; the offline page holds the part in the view."""

        def take_away(lanes: list[Lane] | None, parts: Parts | None, convention: str, request: gr.Request) -> str:
            if lanes is None or parts is None:
                raise gr.Error(NOTHING_YET, print_exception=False)
            of_part = name == "html" or lanes[-1].reference
            if name in MERGED and lanes[0].track is None:
                raise gr.Error("There are no reference times yet: drop a file of them first.", print_exception=False)
            make = export_merge if name in MERGED else export_lanes
            file_name, content = make(lanes if of_part else parts.lanes, name, convention)
            return explorer.visits.note(request, save_bytes_to_cache(content.encode(), file_name, download.GRADIO_CACHE))

        return take_away

    def chosen(event: gr.EventData) -> str:
        return event.convention

    lanes, view, convention = explorer.lanes, explorer.view, gr.State("spike")
    with gr.Row(equal_height=True):
        truth = gr.Textbox(
            label="What was really said?",
            placeholder="Type the sentence to see where each of its letters lies, and what the model made of it",
            max_length=2000,
            scale=5,
        )
        align_button = gr.Button("Align", scale=1, min_width=100)
    suggestion = gr.Button(visible=False, size="sm")
    gr.Markdown("Take it away, with the times of the typed sentence once there is one:")
    with gr.Row():
        saves = [(gr.Button(label, size="sm", min_width=60), name) for name, label in SAVES.items()]
    download = gr.File(visible="hidden")
    aligned = [view, lanes, suggestion]
    typed = gr.on([truth.submit, align_button.click], align_reference, [lanes, explorer.parts, truth], aligned, **LATEST)
    offered = suggestion.click(lambda offer: offer.removeprefix(OFFER), suggestion, truth, api_visibility="private").then(
        align_reference, [lanes, explorer.parts, truth], aligned, **LATEST
    )
    widened = view.convention(chosen, None, convention, **LATEST)
    saves += reference_times.build(tab, explorer, convention, (typed, offered, widened))
    with gr.Accordion("How to read this", open=True):
        gr.Markdown(HOW_TO_READ)

    for button, name in saves:
        button.click(
            taker(name),
            [lanes, explorer.parts, convention],
            download,
            api_visibility="private",
        ).success(None, download, None, js=DOWNLOAD, api_visibility="private")
