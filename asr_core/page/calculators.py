"""The Doctor's calculators, with live results."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from gradio.components import Component

from asr_core.doctor import calculators
from asr_core.doctor.calculators import Calculation, CalculatorError


def build() -> None:
    with gr.Tabs():
        with gr.Tab("The first loss"):
            gr.Markdown("What the loss of an untrained model should be. A first loss far from it has a cause.")
            with gr.Row():
                numbers = [
                    gr.Number(value, label=label, min_width=120)
                    for value, label in (
                        (92, "Frames T"),
                        (43, "Tokens of the text S"),
                        (2, "Repeats R"),
                        (29, "Vocabulary V"),
                    )
                ]
            _live(calculators.initial_loss, numbers, unit=" nats")
        with gr.Tab("Output length"):
            gr.Markdown("The frames that come out of a stack of convolutions: `input_lengths` must say so.")
            with gr.Row():
                length = gr.Number(368, label="Frames in", min_width=120)
                layers = gr.Textbox(
                    "3 2 1\n3 2 1", label="Layers", info="A line each: kernel stride padding dilation", lines=3
                )
            _live(
                lambda frames, text: calculators.output_length(frames, calculators.layers_of(text)),
                [length, layers],
                " frames",
            )
        with gr.Tab("Does the text fit?"):
            gr.Markdown("A text needs a frame for each token, and one more for each that equals the one before.")
            with gr.Row():
                text = gr.Textbox("hello", label="The text", max_length=10_000)
                frames = gr.Number(6, label="Frames T", min_width=120)
            _live(calculators.feasibility, [text, frames], " frames needed")
        with gr.Tab("Do the lengths fit?"):
            gr.Markdown("Paste the lengths of a batch, as your script prints them.")
            with gr.Row():
                given = gr.Textbox("92, 110, 75", label="input_lengths", max_length=100_000)
                wanted = gr.Textbox("43, 77, 80", label="target_lengths", max_length=100_000)
            _live(
                lambda given, wanted: calculators.lengths_that_fit(
                    calculators.lengths_of(given), calculators.lengths_of(wanted)
                ),
                [given, wanted],
                " that fit",
            )


def _live(calculate: Callable[..., Calculation], inputs: list[Component], unit: str) -> None:
    """A result that follows its inputs."""

    def told(*values: object) -> str:
        try:
            result = calculate(*values)
        except CalculatorError as error:
            return str(error)
        return f"{result.value:.10g}{unit}\n{result.formula}\n{result.verdict}"

    shown = gr.Textbox(told(*(component.value for component in inputs)), label="Result", lines=3, interactive=False)
    gr.on(
        [component.change for component in inputs],
        told,
        inputs,
        shown,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
