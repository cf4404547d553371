"""The top of the page: the recording, what was heard, and the view that the tabs share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from asr_core.audio import AudioError
from asr_core.data.utterances import Utterance
from asr_core.page import waiting
from asr_core.reception import NotServed, Reception
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription
from asr_core.viewer.component import AlignmentView
from asr_core.viewer.payload import Lane, heard_in

WAITING = gr.Progress()  # Gradio gives each event its own
MODEL_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}
READ, LEARN, BREAK_IT, TRAINING = "read", "learn", "break", "training"  # what the view shows


@dataclass(frozen=True)
class Explorer:
    """lanes: what was heard, and the typed sentence where there is one; the view may show something else of it.
    opened: which of READ, LEARN, BREAK_IT and TRAINING the view shows. changed: the events after which `lanes` are new.
    example: what is loaded where a tab needs a recording and there is none."""

    transcriber: Transcriber
    recording: gr.Audio
    text: gr.Textbox
    view: AlignmentView
    lanes: gr.State
    opened: gr.State
    changed: Sequence[Dependency]
    example: Path


def build(
    transcriber: Transcriber, reception: Reception, other: Transcriber | None, examples: Sequence[Utterance]
) -> Explorer:
    """With `other`, every recording shows both models' readings."""
    words = "With a language model" if transcriber.model.language_model else "Beam search"
    readings = {"Letters alone": ("greedy",), words: ("beam",)}
    if other is None:
        readings = {"Both": ("greedy", "beam")} | readings  # two models are two lanes already
    lane_names = {"greedy": "letters alone", "beam": words.lower()}

    async def hear(
        path: str | None, reading: str, request: gr.Request, progress: gr.Progress = WAITING
    ) -> tuple[str, list[Lane] | None, list[Lane] | None]:
        """Text, and the lanes twice: for the view, and for what may be asked of them later."""
        if path is None:  # the recording was cleared
            return "", None, None
        try:
            heard = await waiting.readings(reception, path, readings[reading], request.session_hash, progress)
        except (AudioError, NotServed) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return show(await asyncio.to_thread(lanes_of, reading, *heard))

    def read_again(lanes: list[Lane] | None, reading: str) -> tuple[str, list[Lane], list[Lane]]:
        """The same recording by other decoders; a typed sentence leaves the view."""
        if lanes is None:
            return gr.skip(), gr.skip(), gr.skip()
        first = lanes[0].reading
        return show(lanes_of(reading, *(transcriber.read(first.emission, first.sound, each) for each in readings[reading])))

    def lanes_of(reading: str, first: Transcription, *more: Transcription) -> list[Lane]:
        """A lane for each decoder of this reading, or for each model."""
        if other is None:
            return [Lane(lane_names[name], each) for name, each in zip(readings[reading], (first, *more), strict=True)]
        second = other.transcribe((first.sound.sample_rate, first.sound.samples), readings[reading][0])
        return [Lane(transcriber.model.name, first), Lane(other.model.name, second)]

    def show(lanes: list[Lane]) -> tuple[str, list[Lane], list[Lane]]:
        text = heard_in(lanes).text
        if not text:
            gr.Info("The model heard no speech in this recording.")
        return text, lanes, lanes

    lanes, opened = gr.State(time_to_live=3600), gr.State(READ)
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

    shown = [text, view, lanes]
    # One event for a recording, an upload, an example and the clearing of any of them.
    transcribed = recording.change(hear, [recording, reading], shown, concurrency_limit=None, api_visibility="private")
    read = reading.input(read_again, [lanes, reading], shown, api_visibility="private", **MODEL_QUEUE)
    return Explorer(transcriber, recording, text, view, lanes, opened, (transcribed, read), examples[0].path)


def show_what_was_heard(tab: gr.Tab, explorer: Explorer) -> None:
    """For a tab that leaves the view alone: gives it back what another tab took from it."""

    def come_back(opened: str, lanes: list[Lane] | None) -> tuple:
        return READ, gr.skip() if opened == READ else lanes

    asked = [explorer.opened, explorer.lanes]
    tab.select(come_back, asked, [explorer.opened, explorer.view], api_visibility="private")
