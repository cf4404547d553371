"""The top of the page: the recording, what was heard, and the view that the tabs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from asr_core.audio import AudioError
from asr_core.data.utterances import Utterance
from asr_core.page.wanted import Unwanted, Wanted
from asr_core.transcriber import Progress, Transcriber
from asr_core.transcription import Transcription
from asr_core.viewer.component import AlignmentView
from asr_core.viewer.parts import Parts
from asr_core.viewer.payload import Lane, heard_in

MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}
BAR = gr.Progress()
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
    example: Path

    @property
    def shown(self) -> list[gr.components.Component]:
        return [self.text, self.view, self.lanes, self.parts]


def build(transcriber: Transcriber, other: Transcriber | None, examples: Sequence[Utterance]) -> Explorer:
    """With `other`, every recording shows both models' readings."""
    words = "With a language model" if transcriber.model.language_model else "Beam search"
    readings = {"Letters alone": ("greedy",), words: ("beam",)}
    if other is None:
        readings = {"Both": ("greedy", "beam")} | readings  # two models are two lanes already
    lane_names = {"greedy": "letters alone", "beam": words.lower()}

    wanted = Wanted()

    def want(path: str | None, request: gr.Request) -> tuple:
        """Ends the work on the recording that was there before, and clears the view when no other has taken its place."""
        wanted.now(request, path)
        return CLEARED if path is None else NOTHING_NEW

    def transcribe(path: str | None, reading: str, request: gr.Request, progress=BAR) -> tuple:
        """As show; nothing for a recording that was taken away meanwhile."""
        tell = wanted.progress(request, path, progress)
        try:
            tell("listening", 0, None)  # it may have waited long for its turn
            heard = transcriber.transcribe(path, readings[reading][0], tell)
            return show(lanes_of(heard, reading, tell))
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Unwanted:
            return NOTHING_NEW

    def read_again(parts: Parts | None, reading: str, path: str | None, request: gr.Request, progress=BAR) -> tuple:
        """The same recording by other decoders; a typed sentence leaves the view."""
        if parts is None:
            return NOTHING_NEW
        first, tell = parts.lanes[0].reading, wanted.progress(request, path, progress)
        try:
            heard = transcriber.read(first.emission, first.sound, readings[reading][0], tell)
            return show(lanes_of(heard, reading, tell))
        except Unwanted:
            return NOTHING_NEW

    def lanes_of(first: Transcription, reading: str, tell: Progress) -> list[Lane]:
        """A lane for each decoder of this reading, or for each model."""
        decoder, *more = readings[reading]
        if other is None:
            again = [(name, transcriber.read(first.emission, first.sound, name, tell)) for name in more]
            return [Lane(lane_names[name], each) for name, each in [(decoder, first), *again]]
        second = other.transcribe((first.sound.sample_rate, first.sound.samples), decoder, tell)
        return [Lane(transcriber.model.name, first), Lane(other.model.name, second)]

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
        with gr.Column(scale=3):
            text = gr.Textbox(label="What it heard", lines=3, buttons=["copy"], interactive=False)
            reading = gr.Radio(
                list(readings),
                value=next(iter(readings)),
                label="How the letters become text",
                info="The best letter of each frame alone, or the likeliest words for the whole sound.",
            )
            with gr.Row():
                for each in examples:
                    button = gr.Button(f"“{' '.join(each.text.split()[:4])} …”", size="sm", min_width=140)
                    path = str(each.path)
                    button.click(lambda path=path: path, None, recording, api_visibility="private")
    view = AlignmentView()

    shown = [text, view, lanes, parts]
    # One event for a recording, an upload, an example and the clearing of any of them.
    # It waits for no model: the guard lets nothing but the queue through, so it has a place of its own there.
    at_once = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
    changed = recording.change(want, recording, shown, **at_once)
    transcribed = changed.then(transcribe, [recording, reading], shown, api_name="transcribe", **MODEL_QUEUE)
    read = reading.input(read_again, [parts, reading, recording], shown, api_visibility="private", **MODEL_QUEUE)
    turned = view.part(turn, parts, [view, lanes], api_visibility="private")
    events = transcribed, read, turned
    return Explorer(transcriber, recording, text, view, lanes, parts, opened, events, wanted, examples[0].path)


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
    tab.select(come_back, asked, [explorer.opened, explorer.view], api_visibility="private")
