"""The models of the page, side by side: which other one reads each recording too, and where each of them comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from asr_core.checkpoint import Checkpoint
from asr_core.page.plain import plain
from asr_core.recogniser import Recogniser
from asr_core.transcriber import Progress, Transcriber
from asr_core.viewer.payload import Lane

CARDS = re.compile(r"https://(huggingface\.co|docs\.pytorch\.org)/[\w./-]+")  # what is linked; any other is shown as text


@dataclass(frozen=True)
class Models:
    """names: of all, the page's own first, no two alike. choice: 0 for none, n for the nth of `others`."""

    names: Sequence[str]
    others: Sequence[Transcriber]
    choice: gr.Dropdown

    def beside(self, first: Lane, number: int, decoder: str, tell: Progress) -> list[Lane]:
        """The lane, and what the chosen model makes of its sound. Raises audio.AudioError, and what `tell` raises."""
        if not number:
            return [first]
        sound = first.reading.sound
        if not sound.is_heard:
            gr.Info("This file holds no audio, which another model could read.")
            return [first]
        reading = self.others[number - 1].transcribe((sound.sample_rate, sound.samples), decoder, tell)
        return [first, Lane(self.names[number], reading)]


def build(transcriber: Transcriber, others: Sequence[Transcriber]) -> Models:
    """In sight where there are others."""
    models = [each.model for each in (transcriber, *others)]
    names = _apart([model.name for model in models])

    def cards(number: int) -> str:
        return "\n\n".join(card(names[index], models[index]) for index in sorted({0, number}))

    chosen, there = min(1, len(others)), bool(others)
    choices = [(name, index) for index, name in enumerate(("none", *names[1:]))]
    choice = gr.Dropdown(choices, value=chosen, label="Compare with", visible=there)
    told = gr.Markdown(cards(chosen), visible=there, elem_id="cards")
    choice.input(cards, choice, told, show_progress="hidden", trigger_mode="always_last", api_visibility="private")
    return Models(names, others, choice)


def card(name: str, model: Recogniser) -> str:
    """A model's name, its licence, and where its makers tell of it, as Markdown."""
    licence = f"licence {plain(model.licence)}" if model.licence else "no licence stated"
    where = "no model card"
    if CARDS.fullmatch(model.card):
        where = f"[model card]({model.card})"
    elif model.card:
        where = f"model card in {plain('/'.join(Path(model.card).parts[-2:]))}"
    return f"**{plain(name)}**: {licence}, {where}"


def expectation(model: Recogniser) -> str:
    """What to expect of a model's text, as Markdown: what it reads, and how often it errs by its own figures; "" of one that
    tells none."""
    if not isinstance(model, Checkpoint):
        return ""
    rates = {name: figures.get("wer") for name, figures in model.metrics.items() if isinstance(figures, dict)}
    alone, beam = rates.get("validation"), rates.get("validation, beam")
    if not isinstance(alone, float) or not 0 < alone < 1:
        return ""
    by_letters, with_words = f"1 in {1 / alone:.0f} by letters alone", isinstance(beam, float) and 0 < beam < alone
    wrong = f"1 word in {1 / beam:.0f} wrong, {by_letters}," if with_words else f"1 word in {1 / alone:.0f} wrong"
    size = f"{model.encoder.parameter_count / 1e6:.0f} million parameters"
    return (
        f"**{plain(model.name)}** ({size}) gets about {wrong} on clear English, read aloud; more with noise, an accent or a "
        "far microphone."
    )


def _apart(names: Sequence[str]) -> list[str]:
    """Numbered where they are alike, as those of two trainings' best checkpoints are."""
    return [
        f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name for index, name in enumerate(names)
    ]
