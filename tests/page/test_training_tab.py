"""The replay of a training in the page, from a checkpoint that has one."""

from dataclasses import replace

import pytest
from actions import EXAMPLES, frames_of, words_of
from synthetic import tiny_model

import app
from asr_core import Transcriber
from asr_core.decoding import greedy_path
from asr_core.training.recorder import Recorder
from asr_core.transcription import Transcription


@pytest.fixture(scope="module")
def recorded(transcriber, tmp_path_factory):
    """A model whose training is told in two moments."""
    model = transcriber.model
    path = tmp_path_factory.mktemp("replay") / "replay.safetensors"
    recorder = Recorder(path, EXAMPLES, model.log_mel(), model.alphabet, model.encoder)
    for step in (0, 1_000):  # the same weights: what is shown of each moment is told apart by its words
        recorder.record(model.encoder, step, step / 500)
    return Transcriber(replace(model, replay=recorder.replay))


def test_the_slider_shows_the_clip_at_its_moment(browser, recorded, transcriber):
    page = app.build(recorded)
    _, url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    tab = browser.new_page(viewport={"width": 1280, "height": 1000})
    tab.goto(url)
    tab.wait_for_selector(".ctc-lens .empty")
    tab.get_by_role("tab", name="Training").click()
    tab.wait_for_selector(".ctc-lens .word")
    tab.get_by_text("a model that had learned before").wait_for()
    replay = recorded.model.replay
    emission = replay.emission(0, 0)
    expected = Transcription.of_path(greedy_path(emission), emission, replay.sound(0))
    assert words_of(tab) == [word.label for word in expected.words]
    said = tab.locator("#moment").inner_text()
    assert "After 0 steps" in said and replay.texts[0] in said
    tab.locator("input[type=range]").first.fill("1")
    tab.get_by_text("2.00 passes over the training speech").wait_for()
    assert "1,000 steps" in tab.locator("#moment").inner_text()
    tab.get_by_label(" ".join(replay.texts[1].split()[:4])).click()
    frames = len(replay.emission(0, 1))
    tab.wait_for_function(f"document.querySelector('.ctc-lens .summary').textContent.startsWith('{frames} ')")
    assert frames_of(tab) == frames
    tab.close()
    page.close()


def test_a_checkpoint_without_a_replay_has_no_such_tab(browser, tab, transcriber):
    assert tab.get_by_role("tab", name="Training").count() == 1, "what is shipped has one"
    page = app.build(Transcriber(replace(transcriber.model, replay=None)))
    _, url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    other = browser.new_page()
    other.goto(url)
    other.wait_for_selector(".ctc-lens .empty")
    assert other.get_by_role("tab", name="Learn").count() == 1
    assert other.get_by_role("tab", name="Training").count() == 0
    other.close()
    page.close()


def test_a_page_of_an_untrained_model_is_built_too():
    assert app.build(Transcriber(tiny_model())) is not None
