"""The page as its users meet it: through gradio_client, and in Chromium with a microphone that plays an example."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from actions import EXAMPLES, frames_of, heard, pointer_over_frame, upload, wait_to_hear, words_of
from gradio_client import handle_file
from gradio_client.exceptions import AppError

# Through the API


def test_an_example_is_transcribed_as_the_library_does(client, transcriber):
    answer = client.predict(handle_file(EXAMPLES[0].path), api_name="/transcribe")
    assert answer == transcriber.transcribe(EXAMPLES[0].path).as_dict()


def write(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    sf.write(path, samples, rate)
    return path


BAD = {
    "silent": (lambda path: write(path, np.zeros(16_000)), "is silent"),
    "short": (lambda path: write(path, np.full(800, 0.1)), "50 ms long"),
    "text": (lambda path: path.write_text("not a recording at all"), "not a WAV file"),
    "nan": (lambda path: sf.write(path, np.full(16_000, np.nan), 16_000, subtype="FLOAT"), "not numbers"),
    "five-hours": (lambda path: sf.write(path.with_suffix(".flac"), np.zeros(18_000_000, "i2"), 1000), "300 minutes long"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_audio_gets_a_sentence_and_the_page_lives_on(client, tmp_path, name):
    make, sentence = BAD[name]
    make(tmp_path / f"{name}.wav")
    with pytest.raises((AppError, ValueError), match=sentence):
        client.predict(handle_file(next(tmp_path.iterdir())), api_name="/transcribe")
    assert client.predict(handle_file(EXAMPLES[1].path), api_name="/transcribe")["text"]


def test_an_uploaded_file_is_shown_word_by_word(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path, "greedy")
    assert words_of(tab) == [word.label for word in expected.words]
    assert frames_of(tab) == len(expected.path)


def test_hovering_a_frame_explains_it(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path, "greedy")
    kept, blank = expected.tokens[1], expected.path.index(expected.emission.alphabet.blank)
    pointer_over_frame(tab, expected, kept.first)
    details = tab.locator(".ctc-lens .details")
    details.get_by_text(f"Frame {kept.first + 1}", exact=True).wait_for()
    assert f"{kept.first * 40} to {kept.first * 40 + 40} ms" in details.inner_text()
    assert "Kept: a new" in details.inner_text()
    assert details.locator("li").count() == 5
    best = float(details.locator("li.best .percent").inner_text().rstrip(" %")) / 100
    probabilities = expected.emission.log_probs[kept.first].exp()
    assert best == pytest.approx(float(probabilities.max()), abs=0.012)
    pointer_over_frame(tab, expected, blank)
    details.get_by_text("Dropped").wait_for()


def test_clicking_a_letter_or_a_word_plays_exactly_its_span(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path, "greedy")
    for selector, span in ((".word", expected.words[1]), (".letter", expected.tokens[1])):
        tab.evaluate("window.plays.length = 0")
        tab.locator(f".ctc-lens {selector}").nth(1).click()
        tab.wait_for_function("window.plays.length === 1")
        offset, duration = tab.evaluate("window.plays[0]")
        assert offset == pytest.approx(span.start_s, abs=1e-6)
        assert duration == pytest.approx(span.end_s - span.start_s, abs=1e-6)


def test_the_microphone_is_transcribed(tab):
    before = time.monotonic()
    tab.get_by_role("button", name="Record", exact=True).click()
    tab.wait_for_timeout(int(1000 * EXAMPLES[0].duration_s) + 500)
    tab.get_by_role("button", name="Stop", exact=True).click()
    passed_s = time.monotonic() - before
    tab.wait_for_selector(".ctc-lens .word")
    assert EXAMPLES[0].duration_s - 0.5 < frames_of(tab) * 0.04 < passed_s + 0.5
    assert len(heard(tab).split()) >= 4


def test_the_letters_alone_and_the_language_models_text_are_two_lanes_of_one_emission(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    letters, mended = (transcriber.transcribe(EXAMPLES[0].path, decoder) for decoder in ("greedy", "beam"))
    assert letters.text != mended.text  # else this test shows nothing
    for lane, reading in enumerate((letters, mended)):
        assert words_of(tab, lane) == [word.label for word in reading.words]
    wait_to_hear(tab, mended.text)
    tab.get_by_label("Next difference").click()
    tab.locator(".ctc-lens .details").get_by_text("other lane").or_(tab.get_by_text("Only this lane")).first.wait_for()
    tab.get_by_label("Letters alone").click()
    tab.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    assert words_of(tab) == [word.label for word in letters.words]
    wait_to_hear(tab, letters.text)


def test_every_bundled_example_is_one_click_away(tab, transcriber):
    for example in EXAMPLES:
        tab.get_by_role("button", name=" ".join(example.text.split()[:4])).click()
        words = [word.label for word in transcriber.transcribe(example.path, "greedy").words]
        lane = "(document.querySelector('.ctc-lens .words')?.querySelectorAll('.word') ?? [])"
        shown = f"[...{lane}].map(w => w.textContent.replace('⚠ ', ''))"
        tab.wait_for_function(f"words => JSON.stringify({shown}) === words", arg=json.dumps(words, separators=(",", ":")))


def test_a_bad_file_gets_a_sentence_and_the_last_result_stays(tab, tmp_path):
    upload(tab, EXAMPLES[0].path)
    before = words_of(tab)
    tab.get_by_label("Clear").first.click()
    bad = tmp_path / "speech.wav"
    bad.write_text("this is no sound")
    tab.locator("input[type=file]").first.set_input_files(bad)
    tab.get_by_text("is not a WAV file, whatever its name says").wait_for()
    assert "Traceback" not in tab.content()
    tab.get_by_label("Clear").first.click()
    upload(tab, EXAMPLES[0].path)
    assert words_of(tab) == before
