"""The tab "Training": what the model made of a clip after so many steps, from blanks alone to letters."""

from __future__ import annotations

import math

import gradio as gr

from asr_core.decoding import greedy_path
from asr_core.page.explorer import LATEST, TRAINING, Explorer
from asr_core.page.plain import plain
from asr_core.replay import Replay
from asr_core.transcription import Transcription
from asr_core.viewer.payload import Lane

INTRODUCTION = """
A model does not learn letter by letter. First it learns that the blank is nearly always right, and says nothing else. Then
the first letters rise out of the blanks, sharpen, and move to where they are heard. Move the slider to see this model learn.
"""
LATER = """
This recording begins with a model that had learned before, so that its first steps, and their blanks, are not in it. Any
training of your own records them.
"""


def build(tab: gr.Tab, explorer: Explorer, replay: Replay) -> None:
    def show(opened: str, clip: int, moment: int) -> tuple:
        """The view at a moment of the training, and the moment in words."""
        if opened != TRAINING:
            return gr.skip(), gr.skip()
        emission, snapshot = replay.emission(moment, clip), replay.snapshots[moment]
        reading = Transcription.of_path(greedy_path(emission), emission, replay.sound(clip))
        blanks = sum(token == emission.alphabet.blank for token in reading.path) / len(reading.path)
        words = (
            f"After **{snapshot.step:,} steps**, {snapshot.epoch:.2f} passes over the training speech: {blanks:.0%} of the "
            f"frames are blanks, and the loss of the clips is {snapshot.loss:.2f} nats a character. "
            f"What was said: “{plain(replay.texts[clip])}”"
        )
        return [Lane(f"after {snapshot.step:,} steps", reading)], words

    guessing = math.log(len(replay.emission(0, 0).alphabet))  # nats a character: what no model is better than at first
    gr.Markdown(INTRODUCTION + (LATER if replay.snapshots[0].loss < guessing else ""))
    with gr.Row():
        clips = [(f"“{' '.join(text.split()[:4])} …”", number) for number, text in enumerate(replay.texts)]
        clip = gr.Radio(clips, value=0, label="The clip, of a speaker that the training did not hear")
        moment = gr.Slider(0, len(replay.snapshots) - 1, value=0, step=1, label="The moment")
    words = gr.Markdown(elem_id="moment")

    asked, shown = [explorer.opened, clip, moment], [explorer.view, words]
    entered = tab.select(lambda: TRAINING, None, explorer.opened, api_visibility="private")
    for trigger in (entered.success, clip.input, moment.input):
        trigger(show, asked, shown, show_progress="hidden", **LATEST)
