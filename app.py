"""CTC Lens, the page: python app.py [--checkpoint DIR_OR_HUB_ID]. Layout and wiring; asr_core does the work."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: no call leaves the machine

import gradio as gr

from asr_core import DEFAULT_CHECKPOINT, AudioError, CheckpointError, Transcriber, Transcription
from asr_core.data.utterances import read_manifest
from asr_core.viewer.component import AlignmentView

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


def build(transcriber: Transcriber) -> gr.Blocks:
    """The page for one model."""

    def transcribe(path: str | None) -> tuple[str, Transcription | None]:
        if path is None:  # the recording was cleared
            return "", None
        try:
            transcription = transcriber.transcribe(path)
        except AudioError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return transcription.text or "(no speech was recognised)", transcription

    with gr.Blocks(title="CTC Lens", delete_cache=(600, 3600), analytics_enabled=False) as page:
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
                with gr.Row():
                    examples = [
                        (gr.Button(f"“{' '.join(utterance.text.split()[:4])} …”", size="sm"), str(utterance.path))
                        for utterance in read_manifest(EXAMPLES)
                    ]
        view = AlignmentView()
        with gr.Accordion("How to read this", open=True):
            gr.Markdown(HOW_TO_READ)
        gr.Markdown(SOURCES)

        # One event for a recording, an upload, an example and the clearing of any of them.
        recording.change(
            transcribe, recording, [text, view], api_name="transcribe", concurrency_id="model", concurrency_limit=1
        )
        for button, path in examples:
            button.click(lambda path=path: path, None, recording, api_visibility="private")
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
    args = parser.parse_args()
    try:
        transcriber = Transcriber.from_checkpoint(args.checkpoint)
    except CheckpointError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    build(transcriber).launch(**LAUNCH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
