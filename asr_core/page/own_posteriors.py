"""What a person's own model made of a recording, from a file: where it is dropped, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from asr_core import posteriors
from asr_core.page.plain import plain
from asr_core.posteriors import Posteriors
from asr_core.recogniser import Recogniser

# They bound what a visit keeps in memory, and how long a beam search over thousands of tokens takes: minutes at the worst.
MOST_BYTES = 64_000_000  # of a file's arrays, unpacked
LONGEST_S = 1800.0

WORDS = """
Any CTC model's: NeMo, ESPnet, icefall, SpeechBrain, Keras, your own. Save what it gave out for one recording, and drop the
file here. It is read as plain arrays, never unpickled, and deleted when you leave.

`numpy.savez("clip.npz", log_probs=..., labels=..., blank=..., frame_duration_s=..., audio=..., sample_rate=...)`

- `log_probs`, of shape (frames, tokens): log-probabilities, logits or probabilities; you are told which they were
- `labels`: the text of each token, in the order of the outputs, with a name for the blank; `blank`: its number, from 0
- `frame_duration_s`: seconds from one frame to the next, the feature hop times the model's subsampling
- `audio`, of shape (samples,), and `sample_rate`, both optional: to see the sound and to hear it

A `.safetensors` file has the same names, with `labels` as a JSON list in its metadata. The lines that write such a file in
each toolkit are in `docs/posteriors.md`, which comes with this page's source.
"""


@dataclass(frozen=True)
class OwnPosteriors:
    """file: where a person drops it. said: what was made of it, or why nothing was."""

    file: gr.File
    said: gr.Markdown


def build() -> OwnPosteriors:
    with gr.Accordion("Or open posteriors of your own model: .npz, .safetensors", open=False), gr.Row():
        with gr.Column(scale=2):
            file = gr.File(label="Posteriors, .npz or .safetensors", type="filepath", height=120, elem_id="own")
            said = gr.Markdown(elem_id="said")
        with gr.Column(scale=3):
            gr.Markdown(WORDS)
    return OwnPosteriors(file, said)


def load(path: str) -> Posteriors:
    """Raises PosteriorsError, or audio.AudioError."""
    return posteriors.load(path, MOST_BYTES, LONGEST_S)


def told(own: Posteriors, model: Recogniser) -> str:
    """What was read and what was done to it, as Markdown. model: the page's own."""
    emission = own.emission
    frames, tokens = f"{len(emission):,} frames of {emission.frame_s * 1000:g} ms", f"{len(emission.alphabet):,} tokens"
    sentences = [f"{frames}, {tokens}.", own.note or "These were log-probabilities; nothing was done to them."]
    if not own.sound.is_heard:
        sentences.append("There is no audio in the file, so there is no spectrogram and nothing to play.")
    if model.language_model and emission.alphabet != model.alphabet:
        sentences.append("The page's language model spells with other tokens, so that a beam search goes without it.")
    return f"**{plain(own.sound.name)}**: {plain(' '.join(sentences))}"


def refused(error: Exception) -> str:
    return f"**This file cannot be shown.** {plain(str(error))}"
