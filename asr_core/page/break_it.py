"""The tab "Break it": one mistake at a time, made on the recording in the view, with its loss and the Doctor's verdict."""

from __future__ import annotations

import math

import gradio as gr

from asr_core.doctor.mistakes import LOG_SOFTMAX, LONGEST_S, MISTAKES, Batch, Clip, Mistake, MistakeError
from asr_core.page.explorer import BREAK_IT, LATEST, MODEL_QUEUE, Explorer
from asr_core.page.findings import findings
from asr_core.page.plain import plain
from asr_core.text import TextError
from asr_core.viewer.parts import beginning
from asr_core.viewer.payload import Lane, heard_in

NOTHING = Mistake("Nothing: the right code", LOG_SOFTMAX, LOG_SOFTMAX, lambda clip: clip.alone)
CHOICES = {mistake.name: mistake for mistake in (NOTHING, *MISTAKES)}
INTRODUCTION = """
Make one of the mistakes that CTC trainings suffer from, on the recording in the view. The target is the sentence that you
typed under “Read”, or else what was heard. Nothing is acted: the code below runs, and torch computes its loss.
"""


def build(tab: gr.Tab, explorer: Explorer) -> None:
    def show(opened: str, lanes: list[Lane] | None, name: str, request: gr.Request) -> tuple:
        """The view with both alignments, and the mistake in words."""
        if opened != BREAK_IT or lanes is None:
            return gr.skip(), gr.skip()
        mistake = CHOICES[name]
        reading = beginning(lanes[-1].reading if lanes[-1].reference else heard_in(lanes), LONGEST_S)
        try:
            right, broken = mistake.on(Clip(explorer.transcriber, reading.sound, reading.text))
        except (MistakeError, TextError) as error:  # the labels of somebody's model may be longer than one letter
            return gr.skip(), plain(str(error))
        paths = [Lane("right", right.aligned)]
        if mistake is not NOTHING and broken.aligned is not None:
            paths.append(Lane("broken", broken.aligned))
        return paths if explorer.still_shows(request, BREAK_IT) else gr.skip(), described(mistake, right, broken)

    def enter(lanes: list[Lane] | None) -> tuple:
        return BREAK_IT, str(explorer.example) if lanes is None else gr.skip()

    gr.Markdown(INTRODUCTION)
    choice = gr.Radio(list(CHOICES), value=NOTHING.name, label="The mistake")
    words = gr.Markdown("Loading an example …", elem_id="broken")

    asked, shown = [explorer.opened, explorer.lanes, choice], [explorer.view, words]
    entered = tab.select(enter, explorer.lanes, [explorer.opened, explorer.recording], **LATEST)
    for trigger in (choice.input, entered.success, *(event.success for event in explorer.changed)):
        trigger(show, asked, shown, **LATEST, **MODEL_QUEUE)


def described(mistake: Mistake, right: Batch, broken: Batch) -> str:
    """Code, losses, alignment and verdict, as Markdown."""
    rows = ["| with | the loss | a character |", "|---|---|---|", _row("the right code", right)]
    reads = f"The best tokens read “{plain(right.text)}”"
    if mistake is NOTHING:
        parts = [f"`  {mistake.right}`", "\n".join(rows), f"{reads}."]
    else:
        reads += ", with either code." if broken.text == right.text else f"; with this code, “{plain(broken.text)}”."
        where = "In the view, above: where the right code puts the letters. Below: where this code puts them."
        if broken.aligned is None:
            where = "In the view: where the right code puts the letters. This code leaves the text no path to draw below it."
        rows.append(_row("this code", broken))
        code = f"`- {mistake.wrong}`\n\n`+ {mistake.right}`"
        parts = [*filter(None, [code, mistake.how]), "\n".join(rows), reads, where]
    return "\n\n".join([*parts, "## What the Doctor says", findings(broken.diagnosis)])


def _row(name: str, batch: Batch) -> str:
    try:
        loss = batch.loss
    except RuntimeError as error:
        return f"| {name} | none: torch refuses | {plain(str(error).partition('(')[0])} |"
    if not math.isfinite(loss):
        return f"| {name} | ∞ | ∞ |"
    nats, each = (f"{value:.2f} nats".replace("-", "−") for value in (loss, loss / int(batch.target_lengths[0])))
    return f"| {name} | {nats} | {each} |"
