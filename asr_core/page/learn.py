"""The tab "Learn": six steps on the visitor's own recording, each with a link of its own (?learn=3)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import gradio as gr

from asr_core.lessons import LESSONS, LONGEST_S, Heard, LessonError
from asr_core.page.explorer import LATEST, LEARN, Explorer
from asr_core.page.plain import plain
from asr_core.viewer.parts import beginning
from asr_core.viewer.payload import Lane

# The view may have grown, and a shared link leads to the step itself, not to the top of the page.
REVEAL = "() => setTimeout(() => document.querySelector('#lesson')?.scrollIntoView({block: 'nearest'}), 300)"


def build(page: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab, explorer: Explorer) -> None:
    def show(opened: str, lanes: list[Lane] | None, step: int, address: str, request: gr.Request) -> tuple:
        """The step in words, the view at its spot, the buttons that go on from it, and its link."""
        if opened != LEARN or lanes is None:
            return (gr.skip(),) * 5
        around = gr.update(interactive=step > 1), gr.update(interactive=step < len(LESSONS)), f"{address}?learn={step}"
        try:
            heard = Heard(beginning(lanes[0].reading, LONGEST_S))
        except LessonError as error:
            return gr.skip(), plain(str(error)), *around
        lesson = LESSONS[step - 1](heard)
        words = [f"## {step} of {len(LESSONS)}: {plain(lesson.title)}", *map(plain, lesson.sentences)]
        words.append(f"**Try it.** {plain(lesson.question)}")
        shown = (
            [Lane("the best path", heard.reading, focus=lesson.focus)] if explorer.still_shows(request, LEARN) else gr.skip()
        )
        return shown, "\n\n".join(words), *around

    def arrive(here: str) -> tuple:
        """The page's address without its query; and, where the query names a step, what opens it."""
        address = urlsplit(here)
        plain_address = address._replace(query="", fragment="").geturl()
        asked = parse_qs(address.query).get("learn", [""])[-1]
        if asked not in map(str, range(1, len(LESSONS) + 1)):
            return plain_address, *(gr.skip(),) * 4
        return plain_address, int(asked), LEARN, gr.Tabs(selected=LEARN), str(explorer.example)

    def enter(lanes: list[Lane] | None) -> tuple:
        return LEARN, str(explorer.example) if lanes is None else gr.skip()

    step, here = gr.State(1), gr.Textbox(visible="hidden")
    with gr.Column(elem_id="lesson"):
        words = gr.Markdown("Loading an example …")
        with gr.Row():
            back = gr.Button("Back", interactive=False)
            forward = gr.Button("Next")
        link = gr.Textbox(label="A link to this step", interactive=False, buttons=["copy"])

    asked, shown = [explorer.opened, explorer.lanes, step, here], [explorer.view, words, back, forward, link]
    for button, by in ((back, -1), (forward, 1)):
        turned = button.click(lambda step, by=by: step + by, step, step, api_visibility="private")
        turned.then(show, asked, shown, **LATEST)
    entered = tab.select(enter, explorer.lanes, [explorer.opened, explorer.recording], **LATEST)
    for event in (entered, *explorer.changed):
        event.success(show, asked, shown, **LATEST).then(js=REVEAL, api_visibility="private")
    arrived = [here, step, explorer.opened, tabs, explorer.recording]
    page.load(arrive, here, arrived, js="() => window.location.href", api_visibility="private")
