"""Two models on one recording: the choice, both lanes, and where each model comes from."""

import re
from dataclasses import replace

import numpy as np
import pytest
from actions import (
    EXAMPLES,
    assert_accessible,
    drop_posteriors,
    explained,
    type_reference,
    visitor,
    wait_for_words,
    wait_to_hear,
    words_of,
)
from synthetic import tiny_model

import app
from asr_core import Transcriber, shipped

CLIP = EXAMPLES[1]
HUB = "https://huggingface.co/somebody/tiny"


@pytest.fixture(scope="module")
def others() -> list[Transcriber]:
    """Nothing learnt; the first has frames of 20 ms, and both have the same name."""
    published = replace(tiny_model("deepspeech2"), card=HUB, licence="mit")
    return [Transcriber(published), Transcriber(replace(tiny_model(), card="javascript:window.sprung=1"))]


@pytest.fixture(scope="module")
def two_url(transcriber, others):
    page = app.build(transcriber, others)
    _, two_url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    yield two_url
    page.close()


@pytest.fixture
def two(browser, two_url):
    with visitor(browser, two_url) as tab:
        yield tab


@pytest.fixture
def compared(two):
    two.get_by_role("button", name="the floors were").click()
    two.wait_for_selector(".ctc-lens .title")
    return two


def titles(tab) -> list[str]:
    return tab.locator(".ctc-lens .title strong").all_inner_texts()


def choose(tab, name: str) -> None:
    tab.get_by_label("Compare with").click()
    tab.get_by_role("option", name=name).click()


def test_two_models_are_two_lanes_each_with_its_own_frames(compared, transcriber, others):
    expected = transcriber.transcribe(CLIP.path, "greedy")
    assert titles(compared) == [transcriber.model.name, "tiny (1)"]
    wait_to_hear(compared, expected.text)
    for lane, reading in enumerate((expected, others[0].transcribe(CLIP.path, "greedy"))):
        wait_for_words(compared, [word.label for word in reading.words], lane)
    assert explained(compared) == expected.tokens[0].first
    compared.locator(".ctc-lens .scroller").focus()
    compared.keyboard.press("ArrowDown")
    assert explained(compared) == pytest.approx(2 * expected.tokens[0].first + 1, abs=1), (
        "half the frame length, twice the number"
    )


def test_another_model_reads_the_same_recording_again_and_none_leaves_the_first(compared, transcriber, others):
    type_reference(compared, CLIP.text)
    compared.locator(".ctc-lens .title").get_by_text("reference").wait_for()
    choose(compared, "tiny (2)")
    compared.locator(".ctc-lens .title").get_by_text("tiny (2)").wait_for()
    wait_for_words(compared, [word.label for word in others[1].transcribe(CLIP.path, "greedy").words], 1)
    compared.get_by_label("With a language model").click()
    mended = [word.label for word in transcriber.transcribe(CLIP.path, "beam").words]
    wait_for_words(compared, mended)
    assert titles(compared)[1] == "tiny (2)"
    choose(compared, "none")
    compared.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    wait_for_words(compared, mended)
    compared.get_by_role("button", name="the streets were").click()
    compared.wait_for_function("document.querySelector('.ctc-lens .summary').textContent.startsWith('102 ')")
    assert compared.locator(".ctc-lens .words").count() == 1, "what was chosen holds for the next recording"


def test_licence_and_card_of_both_models_are_told(two):
    cards = two.locator("#cards div.prose")  # not the sign that it is being worked on
    assert cards.inner_text().split("\n\n") == [
        "fast: licence cc-by-4.0, model card in fast/README.md",
        "tiny (1): licence mit, model card",
    ]
    assert cards.get_by_role("link", name="model card").get_attribute("href") == HUB
    choose(two, "tiny (2)")
    cards.get_by_text("tiny (2)").wait_for()
    assert re.search("no licence stated, model card in javascript:window", cards.inner_text())
    assert cards.get_by_role("link").count() == 0, "what is no known place is no link"
    choose(two, "none")
    cards.get_by_text("tiny (2)").wait_for(state="detached")
    assert cards.inner_text().startswith("fast: ") and "tiny" not in cards.inner_text()
    assert_accessible(two, "#cards")


def test_a_file_of_posteriors_is_compared_by_its_sound(two, transcriber, others, tmp_path):
    reading = transcriber.transcribe(CLIP.path, "greedy")
    arrays = {
        "log_probs": reading.emission.log_probs.numpy(), "labels": np.array(reading.emission.alphabet.labels),
        "blank": reading.emission.alphabet.blank, "frame_duration_s": reading.emission.frame_s,
    }  # fmt: skip
    np.savez(tmp_path / "mine.npz", **arrays, audio=reading.sound.samples[:], sample_rate=reading.sound.sample_rate)
    drop_posteriors(two, tmp_path / "mine.npz")
    two.wait_for_selector(".ctc-lens .title")
    assert titles(two) == ["mine", "tiny (1)"]
    choose(two, "tiny (2)")
    two.locator(".ctc-lens .title").get_by_text("tiny (2)").wait_for()
    assert titles(two) == ["mine", "tiny (2)"]
    wait_for_words(two, [word.label for word in others[1].transcribe(CLIP.path, "greedy").words], 1)
    np.savez(tmp_path / "unheard.npz", **arrays)
    drop_posteriors(two, tmp_path / "unheard.npz")
    two.get_by_text("This file holds no audio, which another model could read.").first.wait_for()
    two.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    assert words_of(two) == [word.label for word in reading.words]


def test_there_is_no_choice_where_there_is_but_one_model(tab):
    assert tab.get_by_label("Compare with").count() == 0 and tab.locator("#cards").count() == 0


def test_one_that_cannot_be_loaded_is_named_before_the_page_opens(monkeypatch, capsys, tmp_path):
    there, gone = app.DEFAULT_CHECKPOINT, tmp_path / "gone"
    monkeypatch.setattr("sys.argv", ["app.py", "--compare", str(there), "--compare", str(gone)])
    monkeypatch.setattr(app.torch, "set_num_threads", lambda _: None)
    assert app.main() == 2
    assert capsys.readouterr().err == (
        f"app.py: There is no checkpoint folder {gone}. Name a folder with config.json and model.safetensors in it, or a "
        f"shipped checkpoint: {', '.join(shipped.names())}.\n"
    )
