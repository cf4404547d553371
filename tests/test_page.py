"""The page as its users meet it: through gradio_client, and in Chromium with a microphone that plays an example."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.data.utterances import read_manifest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EXAMPLES = read_manifest(app.EXAMPLES)
no_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CTC_LENS_REQUIRE_BROWSER"),
    reason="Chromium is not installed: the tests in a real browser are left out",
)


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def url(transcriber, tmp_path_factory):
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    page = app.build(transcriber)
    _, local_url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    yield local_url
    page.close()


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


# Through the API


def test_an_example_is_transcribed_as_the_library_does(client, transcriber):
    text, view = client.predict(handle_file(EXAMPLES[0].path), api_name="/transcribe")
    assert text == transcriber.transcribe(EXAMPLES[0].path).text
    assert view["frames"] > 80 and view["audio"].endswith("recording.wav")


def write(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    sf.write(path, samples, rate)
    return path


BAD = {
    "silent": (lambda path: write(path, np.zeros(16_000)), "is silent"),
    "short": (lambda path: write(path, np.full(800, 0.1)), "50 ms long"),
    "text": (lambda path: path.write_text("not a recording at all"), "not a WAV file"),
    "nan": (lambda path: sf.write(path, np.full(16_000, np.nan), 16_000, subtype="FLOAT"), "not numbers"),
    "two-hours": (lambda path: sf.write(path.with_suffix(".flac"), np.zeros(7200 * 1000, "i2"), 1000), "120 minutes long"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_audio_gets_a_sentence_and_the_page_lives_on(client, tmp_path, name):
    make, sentence = BAD[name]
    make(tmp_path / f"{name}.wav")
    with pytest.raises((AppError, ValueError), match=sentence):
        client.predict(handle_file(next(tmp_path.iterdir())), api_name="/transcribe")
    text, _ = client.predict(handle_file(EXAMPLES[1].path), api_name="/transcribe")
    assert text


# In the browser


@pytest.fixture(scope="module")
def spoken_wav(tmp_path_factory):
    """The first example as the 48 kHz WAV that Chromium's fake microphone plays."""
    samples, rate = sf.read(EXAMPLES[0].path)
    wav = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    sf.write(wav, np.repeat(samples, 48_000 // rate), 48_000, subtype="PCM_16")
    return wav


@pytest.fixture(scope="module")
def browser(spoken_wav):
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "Chromium is required here (CTC_LENS_REQUIRE_BROWSER is set) and is not installed."
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--autoplay-policy=no-user-gesture-required",
    ]
    flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={spoken_wav}%noloop"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


# Keeps what WebAudio is asked to play: [offset, duration] in seconds.
RECORD_PLAYS = """
window.plays = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset, duration) {
  window.plays.push([offset, duration]);
  return start.call(this, when, offset, duration);
};
"""


@pytest.fixture
def tab(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["microphone"])
    page = context.new_page()
    page.errors, page.outside = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "data:", "blob:")) else page.outside.append(request.url),
    )
    page.add_init_script(RECORD_PLAYS)
    page.set_default_timeout(15_000)
    page.goto(url)
    page.wait_for_selector(".ctc-lens .empty")
    yield page
    context.close()
    assert page.errors == []
    assert page.outside == [], "the page must work with the network cable out"


def upload(tab, path: Path) -> None:
    tab.get_by_label("Upload file").first.click()
    tab.locator("input[type=file]").first.set_input_files(path)
    tab.wait_for_selector(".ctc-lens .word")


def pointer_over_frame(tab, frame: int, y: int = 170) -> None:
    box = tab.locator(".ctc-lens .scroller").bounding_box()
    per_frame = tab.evaluate("() => parseFloat(document.querySelector('.ctc-lens .track').style.width)") / frames_of(tab)
    tab.mouse.move(box["x"] + 1 + (frame + 0.5) * per_frame, box["y"] + y)


def heard(tab) -> str:
    return tab.locator("label", has_text="What it heard").locator("textarea, input").input_value()


def frames_of(tab) -> int:
    return int(tab.locator(".ctc-lens .summary").inner_text().split()[0])


@no_browser
def test_an_uploaded_file_is_shown_word_by_word(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path)
    assert heard(tab) == expected.text
    assert tab.locator(".ctc-lens .word").all_inner_texts() == [word.label for word in expected.words]
    assert frames_of(tab) == len(expected.path)


@no_browser
def test_hovering_a_frame_explains_it(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path)
    kept, blank = expected.tokens[1], expected.path.index(expected.emission.alphabet.blank)
    pointer_over_frame(tab, kept.first)
    details = tab.locator(".ctc-lens .details")
    details.get_by_text(f"Frame {kept.first + 1}", exact=True).wait_for()
    assert f"{kept.first * 40} to {kept.first * 40 + 40} ms" in details.inner_text()
    assert "Kept: a new" in details.inner_text()
    assert details.locator("li").count() == 5
    best = float(details.locator("li.best .percent").inner_text().rstrip(" %")) / 100
    probabilities = expected.emission.log_probs[kept.first].exp()
    assert best == pytest.approx(float(probabilities.max()), abs=0.012)
    pointer_over_frame(tab, blank)
    details.get_by_text("Dropped").wait_for()


@no_browser
def test_clicking_a_letter_or_a_word_plays_exactly_its_span(tab, transcriber):
    upload(tab, EXAMPLES[0].path)
    expected = transcriber.transcribe(EXAMPLES[0].path)
    for selector, span in ((".word", expected.words[1]), (".letter", expected.tokens[1])):
        tab.evaluate("window.plays.length = 0")
        tab.locator(f".ctc-lens {selector}").nth(1).click()
        tab.wait_for_function("window.plays.length === 1")
        offset, duration = tab.evaluate("window.plays[0]")
        assert offset == pytest.approx(span.start_s, abs=1e-6)
        assert duration == pytest.approx(span.end_s - span.start_s, abs=1e-6)


@no_browser
def test_the_microphone_is_transcribed(tab):
    tab.get_by_role("button", name="Record", exact=True).click()
    tab.wait_for_timeout(int(1000 * EXAMPLES[0].duration_s) + 500)
    tab.get_by_role("button", name="Stop", exact=True).click()
    tab.wait_for_selector(".ctc-lens .word", timeout=15_000)
    assert frames_of(tab) * 0.04 == pytest.approx(EXAMPLES[0].duration_s + 0.5, abs=1.0)
    assert len(heard(tab).split()) >= 4


@no_browser
def test_every_bundled_example_is_one_click_away(tab, transcriber):
    for example in EXAMPLES:
        tab.get_by_role("button", name=" ".join(example.text.split()[:4])).click()
        words = [word.label for word in transcriber.transcribe(example.path).words]
        tab.wait_for_function(
            "words => JSON.stringify([...document.querySelectorAll('.ctc-lens .word')].map(w => w.textContent)) === words",
            arg=str(words).replace("'", '"').replace(", ", ","),
        )


@no_browser
def test_a_bad_file_gets_a_sentence_and_the_last_result_stays(tab, tmp_path):
    upload(tab, EXAMPLES[0].path)
    before = tab.locator(".ctc-lens .word").all_inner_texts()
    tab.get_by_label("Clear").first.click()
    bad = tmp_path / "speech.wav"
    bad.write_text("this is no sound")
    tab.locator("input[type=file]").first.set_input_files(bad)
    tab.get_by_text("is not a WAV file, whatever its name says").wait_for()
    assert "Traceback" not in tab.content()
    tab.get_by_label("Clear").first.click()
    upload(tab, EXAMPLES[0].path)
    assert tab.locator(".ctc-lens .word").all_inner_texts() == before


@no_browser
def test_the_keyboard_steps_through_frames(tab):
    upload(tab, EXAMPLES[0].path)
    tab.locator(".ctc-lens .scroller").focus()
    heading = tab.locator(".ctc-lens .heading strong")
    first = int(heading.inner_text().split()[1])
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    assert int(heading.inner_text().split()[1]) == first + 1
    tab.keyboard.press(" ")
    tab.wait_for_function("window.plays.length === 1")
    assert tab.evaluate("window.plays[0][0]") == 0
