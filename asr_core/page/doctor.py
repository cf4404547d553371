"""The tab "Doctor": a batch from anybody's training as a file, its report, and the rules."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from asr_core.doctor import RULES, EvidenceError, diagnose
from asr_core.doctor.__main__ import section
from asr_core.doctor.example import sick_batch
from asr_core.doctor.reading import read
from asr_core.page import calculators
from asr_core.page.explorer import MODEL_QUEUE
from asr_core.page.findings import report
from asr_core.page.plain import plain

TWO_LINES = """import asr_core
print(asr_core.diagnose(log_probs, targets, input_lengths, target_lengths, blank=0))"""
INTRODUCTION = """
Why is my CTC loss negative, or not a number, or stuck? Paste two lines into your own script, after the loss:
"""
FILES = """
Or save the batch and drop it here: `numpy.savez("batch.npz", log_probs=..., targets=..., input_lengths=...,
target_lengths=..., blank=...)`, or a safetensors file with the same names. It is read as plain arrays, and deleted after
an hour.
"""


def build() -> None:
    def examine(path: str | None) -> str:
        if path is None:
            return ""
        try:
            return "## The report\n\n" + report(diagnose(**read(path)))
        except EvidenceError as error:
            return f"**{plain(Path(path).name)} cannot be examined.** {plain(str(error))}"

    gr.Markdown(INTRODUCTION)
    gr.Textbox(TWO_LINES, label="Two lines of Python", lines=2, interactive=False, buttons=["copy"])
    gr.Markdown(FILES)
    file = gr.File(label="A batch, .npz or .safetensors", type="filepath", height=120)
    example = gr.Button("Try it on a sick batch", size="sm")
    words = gr.Markdown(elem_id="report")
    gr.Markdown("## Sums to do before training\n\nEach shows its formula with your numbers in it.")
    calculators.build()
    show_rules = gr.Button("Show all the rules", size="sm")
    rules = gr.Markdown(elem_id="rules")

    file.change(examine, file, words, api_visibility="private", **MODEL_QUEUE)
    example.click(
        lambda: save_bytes_to_cache(sick_batch(), "sick.npz", file.GRADIO_CACHE), None, file, api_visibility="private"
    )
    show_rules.click(
        lambda: "\n\n".join(section(RULES[number]) for number in sorted(RULES)), None, rules, api_visibility="private"
    )
