"""The top of the page: the recording or somebody's own posteriors, what was heard, and the view that the tabs share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from asr_core.audio import AudioError
from asr_core.data.utterances import Utterance
from asr_core.emission import Emission
from asr_core.page import models, own_posteriors, waiting
from asr_core.page.visits import Visits
from asr_core.page.wanted import Unwanted, Wanted
from asr_core.posteriors import PosteriorsError
from asr_core.reception import Left, NotServed, Reception
from asr_core.sound import Sound
from asr_core.transcriber import Progress, Transcriber
from asr_core.transcription import Transcription
from asr_core.viewer.component import AlignmentView
from asr_core.viewer.parts import Parts
from asr_core.viewer.payload import Lane, heard_in

MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}
# What is asked for while the same is still at work comes after it, also in a chain. Gradio would forget it.
LATEST = {"trigger_mode": "always_last", "api_visibility": "private"}
BAR = gr.Progress()  # Gradio gives each event its own
CLEARED, NOTHING_NEW = ("", None, None, None), (gr.skip(),) * 4  # for Explorer.shown
READ, LEARN, BREAK_IT, TRAINING = "read", "learn", "break", "training"  # what the view shows


@dataclass(frozen=True)
class Explorer:
    """lanes: what was heard in the part in the view, and the typed sentence where there is one; the view may show something
    else of it. parts: what was heard in the whole recording. shown: the components that are given what `show` returns.
    opened: which of READ, LEARN, BREAK_IT and TRAINING the view shows. changed: the events after which `lanes` are new.
    example: what is loaded where a tab needs a recording and there is none."""

    transcriber: Transcriber
    recording: gr.Audio
    text: gr.Textbox
    view: AlignmentView
    lanes: gr.State
    parts: gr.State
    opened: gr.State
    changed: Sequence[Dependency]
    wanted: Wanted
    visits: Visits
    example: Path

    @property
    def shown(self) -> list[gr.components.Component]:
        return [self.text, self.view, self.lanes, self.parts]

    def still_shows(self, request: gr.Request, tab: str) -> bool:
        """Whether the view is that tab's: another may have been opened while something was made for this one."""
        return self.visits.now(request, self.opened) == tab


def build(
    transcriber: Transcriber,
    reception: Reception,
    visits: Visits,
    others: Sequence[Transcriber],
    examples: Sequence[Utterance],
) -> Explorer:
    """With `others`, every recording shows two models' readings, of which the second can be chosen."""
    words = "With a language model" if transcriber.model.language_model else "Beam search"
    readings = {"Letters alone": ("greedy",), words: ("beam",)}
    if not others:
        readings = {"Both": ("greedy", "beam")} | readings  # two models are two lanes already
    wanted = Wanted()

    def want(path: str | None, instead: str | None, request: gr.Request) -> tuple:
        """Of a recording and a file of posteriors one is there: what comes to one place (path) empties the other (instead).
        Ends the work on what was there before, and clears the view when nothing has taken its place."""
        if path is None and instead is not None:  # emptied by what came to the other place
            return *NOTHING_NEW, gr.skip()
        wanted.now(request, path)
        reception.leave(request.session_hash)
        return *(CLEARED if path is None else NOTHING_NEW), gr.skip() if instead is None else None

    async def hear(path: str | None, reading: str, chosen: int, request: gr.Request, progress=BAR) -> tuple:
        """As show; nothing for a recording that was taken away meanwhile."""
        if path is None:
            return NOTHING_NEW
        try:
            visits.note(request, path)
            heard = await waiting.readings(reception, path, readings[reading], request.session_hash, progress)
            tell = wanted.progress(request, path, progress)
            return show(await asyncio.to_thread(lanes_of, compared.names[0], reading, heard, chosen, tell))
        except (AudioError, NotServed) as error:
            raise gr.Error(str(error), print_exception=False) from error
        except (Left, Unwanted):
            return NOTHING_NEW

    def open_own(path: str | None, reading: str, chosen: int, request: gr.Request, progress=BAR) -> tuple:
        """As hear, for what another model made of a recording; and what is said of the file."""
        if path is None:
            return *NOTHING_NEW, ""
        tell = wanted.progress(request, path, progress)
        try:
            found = own_posteriors.load(visits.note(request, path))
            heard = read(found.emission, found.sound, reading, tell)
            shown = show(lanes_of(found.sound.name, reading, heard, chosen, tell))
            return *shown, own_posteriors.told(found, transcriber.model)
        except (AudioError, PosteriorsError) as error:
            return *CLEARED, own_posteriors.refused(error)
        except Unwanted:
            return *NOTHING_NEW, gr.skip()

    def read_again(
        parts: Parts | None,
        reading: str,
        chosen: int,
        recorded: str | None,
        own: str | None,
        request: gr.Request,
        progress=BAR,
    ) -> tuple:
        """The same by other decoders, or beside another model; a typed sentence leaves the view."""
        if parts is None:
            return NOTHING_NEW
        first, tell = parts.lanes[0], wanted.progress(request, recorded or own, progress)
        try:
            heard = read(first.reading.emission, first.reading.sound, reading, tell)
            return show(lanes_of(first.name, reading, heard, chosen, tell))
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Unwanted:
            return NOTHING_NEW

    def read(emission: Emission, sound: Sound, reading: str, tell: Progress) -> tuple[Transcription, ...]:
        return tuple(transcriber.read(emission, sound, decoder, tell) for decoder in readings[reading])

    def lanes_of(name: str, reading: str, heard: tuple[Transcription, ...], chosen: int, tell: Progress) -> list[Lane]:
        """A lane for each decoder of this reading; or one for the model of that name and one for another's."""
        if others:
            return compared.beside(Lane(name, heard[0]), chosen, readings[reading][0], tell)
        with_words = transcriber.model.language_model and heard[0].emission.alphabet == transcriber.model.alphabet
        names = {"greedy": "letters alone", "beam": "with a language model" if with_words else "beam search"}
        return [Lane(names[decoder], each) for decoder, each in zip(readings[reading], heard, strict=True)]

    def turn(parts: Parts | None, event: gr.EventData) -> tuple:
        """Another part, for the view and for what may be asked of it later."""
        if parts is None or event.number not in range(1, len(parts) + 1):
            return gr.skip(), gr.skip()
        lanes = parts[int(event.number) - 1]
        return lanes, lanes

    lanes, parts, opened = gr.State(time_to_live=3600), gr.State(time_to_live=3600), gr.State(READ)
    with gr.Row():
        with gr.Column(scale=2):
            recording = gr.Audio(
                label="Your voice",
                sources=["microphone", "upload"],
                type="filepath",
                waveform_options=gr.WaveformOptions(sample_rate=transcriber.model.features.sample_rate),
            )
            if expected := models.expectation(transcriber.model):
                gr.Markdown(expected, elem_id="expectation")
        with gr.Column(scale=3):
            text = gr.Textbox(label="What it heard", lines=3, max_lines=8, buttons=["copy"], interactive=False)
            reading = gr.Radio(
                list(readings),
                value=next(iter(readings)),
                label="How the letters become text",
                info="The best letter of each frame alone, or the likeliest words for the whole sound.",
            )
            compared = models.build(transcriber, others)
            with gr.Row():
                for each in examples:
                    button = gr.Button(f"“{' '.join(each.text.split()[:4])} …”", size="sm", min_width=140)
                    path = str(each.path)
                    # In one line, since Gradio takes from several in no order: the last click counts.
                    in_line = {"concurrency_id": "examples", "api_visibility": "private"}
                    button.click(lambda path=path: path, None, recording, **in_line)
    own = own_posteriors.build()
    view = AlignmentView()

    shown = [text, view, lanes, parts]
    # One event for a recording, an upload, an example and the clearing of any of them; one for a file of posteriors.
    # It waits for no model: the guard lets nothing but the queue through, so it has a place of its own there.
    at_once = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
    changed = recording.change(want, [recording, own.file], [*shown, own.file], **at_once)
    asked = [recording, reading, compared.choice]
    transcribed = changed.then(hear, asked, shown, concurrency_limit=None, **LATEST)
    dropped = own.file.change(want, [own.file, recording], [*shown, recording], **at_once)
    asked = [own.file, reading, compared.choice]
    own_read = dropped.then(open_own, asked, [*shown, own.said], **LATEST, **MODEL_QUEUE)
    asked = [parts, reading, compared.choice, recording, own.file]
    again = gr.on([reading.input, compared.choice.input], read_again, asked, shown, **LATEST, **MODEL_QUEUE)
    turned = view.part(turn, parts, [view, lanes], **LATEST)
    events = transcribed, own_read, again, turned
    state = text, view, lanes, parts, opened, events, wanted, visits
    return Explorer(transcriber, recording, *state, examples[0].path)


def show(lanes: list[Lane]) -> tuple[str, list[Lane], list[Lane], Parts]:
    """What Explorer.shown is given for the lanes of a whole recording: its text, its first part twice, for the view and for
    what may be asked of it later, and all parts."""
    text, parts = heard_in(lanes).text, Parts(lanes)
    if not text:
        gr.Info("The model heard no speech in this recording.")
    first = parts[0]
    return text, first, first, parts


def show_what_was_heard(tab: gr.Tab, explorer: Explorer) -> None:
    """For a tab that leaves the view alone: gives it back what another tab took from it."""

    def come_back(opened: str, lanes: list[Lane] | None) -> tuple:
        return READ, gr.skip() if opened == READ else lanes

    asked = [explorer.opened, explorer.lanes]
    tab.select(come_back, asked, [explorer.opened, explorer.view], **LATEST)
