"""CTC Lens, the page: python app.py [--checkpoint DIR_OR_HUB_ID] [--compare DIR_OR_HUB_ID].

Layout and wiring; asr_core does the work.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: no call leaves the machine

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from asr_core import DEFAULT_CHECKPOINT, AlignmentError, AudioError, CheckpointError, TextError, Transcriber, Transcription
from asr_core.data.utterances import read_manifest
from asr_core.export import export_lanes
from asr_core.reference import align
from asr_core.viewer.component import AlignmentView
from asr_core.viewer.payload import Lane, heard_in, reference_lanes

EXAMPLES = Path(__file__).parent / "examples" / "manifest.tsv"

INTRODUCTION = """
# CTC Lens
See what a speech recogniser hears, frame by frame. Speak, or click an example.
"""
HOW_TO_READ = """
The model cuts the sound into short **frames** and names one **token** for each: a letter, a space, or the **blank**
(a grey dot), which means “nothing new”. Two rules turn frames into text: **equal neighbours are merged** into one
letter, then **blanks are dropped**. So a double letter needs a blank between its two halves. Move over the frames to see
the rule at work; click a letter or a word to hear it.
"""
SOURCES = """
Examples: LibriSpeech dev-clean (Panayotov et al. 2015, CC BY 4.0). Nothing you record is kept.
"""
SAVES = {"srt": "SRT", "vtt": "VTT", "ctm": "CTM", "textgrid": "TextGrid", "json": "JSON", "json-emission": "JSON, emission"}
SAVES |= {"html": "Offline page"}
NOTHING_YET = "There is no recording yet: speak, upload a file or pick an example first."
OFFER = "Use: "
# The browser fetches the file that the hidden File component was given.
DOWNLOAD = "(file) => Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name}).click()"


def build(transcriber: Transcriber, other: Transcriber | None = None) -> gr.Blocks:
    """The page for one model; with `other`, every recording shows both models' readings."""
    words = "With a language model" if transcriber.model.language_model else "Beam search"
    readings = {"Letters alone": ("greedy",), words: ("beam",)}
    if other is None:
        readings = {"Both": ("greedy", "beam")} | readings  # two models are two lanes already
    lane_names = {"greedy": "letters alone", "beam": words.lower()}

    def transcribe(path: str | None, reading: str) -> tuple[str, list[Lane] | None, list[Lane] | None]:
        """Text, and the lanes twice: for the view, and for what may be asked of them later."""
        if path is None:  # the recording was cleared
            return "", None, None
        try:
            heard = transcriber.transcribe(path, readings[reading][0])
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return show(lanes_of(heard, reading))

    def read_again(lanes: list[Lane] | None, reading: str) -> tuple[str, list[Lane], list[Lane]]:
        """The same recording by other decoders; a typed sentence leaves the view."""
        if lanes is None:
            return gr.skip(), gr.skip(), gr.skip()
        first = lanes[0].reading
        return show(lanes_of(transcriber.read(first.emission, first.sound, readings[reading][0]), reading))

    def lanes_of(first: Transcription, reading: str) -> list[Lane]:
        """A lane for each decoder of this reading, or for each model."""
        decoder, *more = readings[reading]
        if other is None:
            again = [(name, transcriber.read(first.emission, first.sound, name)) for name in more]
            return [Lane(lane_names[name], each) for name, each in [(decoder, first), *again]]
        second = other.transcribe((first.sound.sample_rate, first.sound.samples), decoder)
        return [Lane(transcriber.model.name, first), Lane(other.model.name, second)]

    def show(lanes: list[Lane]) -> tuple[str, list[Lane], list[Lane]]:
        text = heard_in(lanes).text
        if not text:
            gr.Info("The model heard no speech in this recording.")
        return text, lanes, lanes

    def align_reference(lanes: list[Lane] | None, text: str) -> tuple[list[Lane], list[Lane], dict]:
        """The lanes with the typed sentence as the second, and the button that offers a spelling."""
        if lanes is None:
            raise gr.Error(NOTHING_YET, print_exception=False)
        try:
            lanes = list(reference_lanes(align(heard_in(lanes), text)))
        except TextError as error:
            gr.Warning(str(error))
            return gr.skip(), gr.skip(), gr.update(visible=bool(error.suggestion), value=OFFER + error.suggestion)
        except AlignmentError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return lanes, lanes, gr.update(visible=False)

    def take_away(lanes: list[Lane] | None, convention: str, name: str) -> str:
        """A file of the typed sentence's alignment, or of what was heard when none was typed."""
        if lanes is None:
            raise gr.Error(NOTHING_YET, print_exception=False)
        file_name, content = export_lanes(lanes, name, convention)
        return save_bytes_to_cache(content.encode(), file_name, download.GRADIO_CACHE)

    def chosen(event: gr.EventData) -> str:
        return event.convention

    with gr.Blocks(title="CTC Lens", delete_cache=(600, 3600), analytics_enabled=False) as page:
        lanes, convention = gr.State(time_to_live=3600), gr.State("spike")
        gr.Markdown(INTRODUCTION)
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
                    examples = [
                        (gr.Button(f"“{' '.join(each.text.split()[:4])} …”", size="sm", min_width=140), str(each.path))
                        for each in read_manifest(EXAMPLES)
                    ]
        view = AlignmentView()
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
        with gr.Accordion("How to read this", open=True):
            gr.Markdown(HOW_TO_READ)
        gr.Markdown(SOURCES)

        model_queue = {"concurrency_id": "model", "concurrency_limit": 1}
        # One event for a recording, an upload, an example and the clearing of any of them.
        shown = [text, view, lanes]
        recording.change(transcribe, [recording, reading], shown, api_name="transcribe", **model_queue)
        reading.input(read_again, [lanes, reading], shown, api_visibility="private", **model_queue)
        for button, path in examples:
            button.click(lambda path=path: path, None, recording, api_visibility="private")
        gr.on(
            [truth.submit, align_button.click],
            align_reference,
            [lanes, truth],
            [view, lanes, suggestion],
            api_visibility="private",
        )
        suggestion.click(lambda offer: offer.removeprefix(OFFER), suggestion, truth, api_visibility="private").then(
            align_reference, [lanes, truth], [view, lanes, suggestion], api_visibility="private"
        )
        view.convention(chosen, None, convention, api_visibility="private")
        for button, name in saves:
            button.click(
                lambda lanes, convention, name=name: take_away(lanes, convention, name),
                [lanes, convention],
                download,
                api_visibility="private",
            ).success(None, download, None, js=DOWNLOAD, api_visibility="private")
    return page.queue(max_size=16, api_open=False)


def theme() -> gr.Theme:
    # The bundled SemiBold of Source Sans is a subset without Latin letters, so only the two whole weights are named.
    return gr.themes.Default(font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"])


LAUNCH = {
    "theme": theme(),
    "show_error": False,
    "run_history": False,  # it stores every visitor's results in the browser, and slows the page down
    "enable_monitoring": False,
    "mcp_server": False,
    "pwa": False,
    "ssr_mode": False,
    "footer_links": ["api"],
    "max_file_size": "100mb",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Open the CTC Lens page.")
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="DIR_OR_HUB_ID", help="the model to show")
    parser.add_argument("--compare", metavar="DIR_OR_HUB_ID", help="a second model, shown as a lane below the first")
    args = parser.parse_args()
    try:
        transcriber = Transcriber.from_checkpoint(args.checkpoint)
        other = Transcriber.from_checkpoint(args.compare) if args.compare else None
    except CheckpointError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    build(transcriber, other).launch(**LAUNCH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
