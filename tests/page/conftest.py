"""The page, launched once for all its tests, and Chromium with a microphone that plays an example."""

import os
import shutil

import numpy as np
import pytest
import soundfile as sf
from gradio_client import Client

import app
from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.data.utterances import read_manifest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EXAMPLES = read_manifest(app.EXAMPLES)


@pytest.fixture(scope="session")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="session")
def page(transcriber, tmp_path_factory):
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    page = app.build(transcriber)
    page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    yield page
    page.close()


@pytest.fixture(scope="session")
def url(page):
    return page.local_url


@pytest.fixture(scope="session")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture(scope="session")
def spoken_wav(tmp_path_factory):
    """The first example as the 48 kHz WAV that Chromium's fake microphone plays."""
    samples, rate = sf.read(EXAMPLES[0].path)
    wav = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    sf.write(wav, np.repeat(samples, 48_000 // rate), 48_000, subtype="PCM_16")
    return wav


@pytest.fixture(scope="session")
def browser(spoken_wav):
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None and not os.environ.get("CTC_LENS_REQUIRE_BROWSER"):
        pytest.skip("Chromium is not installed: the tests in a real browser are left out")
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
    page.on("console", lambda line: page.errors.append(line.text) if "Content Security Policy" in line.text else None)
    page.set_default_timeout(60_000)  # a loaded machine is slow, and only a failing test waits so long
    page.goto(url)
    page.wait_for_selector(".ctc-lens .empty")
    yield page
    context.close()
    assert page.errors == []
    assert page.outside == [], "the page must work with the network cable out"
