"""What a person does on the page, for the tests in the browser."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import app
from asr_core.data.utterances import read_manifest

EXAMPLES = read_manifest(app.EXAMPLES)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@contextmanager
def visitor(browser, address: str, **device: object) -> Iterator:
    """The page as it is opened by somebody who shares nothing with the test's other visitors, until they leave."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **device})
    tab = context.new_page()
    tab.set_default_timeout(60_000)  # a loaded machine is slow, and only a failing test waits so long
    tab.goto(address)
    tab.wait_for_selector(".ctc-lens :is(.empty, .word)")
    try:
        yield tab
    finally:
        context.close()


def wait_until(true: Callable[[], bool], why: str = "") -> None:
    """Of what the server does in its own time."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def server_files() -> set[Path]:
    """Uploads, downloads and sounds that lie with the server; it may be deleting them meanwhile, which os.walk takes."""
    return {Path(folder) / name for folder, _, names in os.walk(os.environ["GRADIO_TEMP_DIR"]) for name in names}


def upload(tab, path: Path) -> None:
    tab.get_by_label("Upload file").first.click()
    tab.locator("input[type=file]").first.set_input_files(path)
    tab.wait_for_selector(".ctc-lens .word")


def drop_posteriors(tab, path: Path) -> None:
    """In the place of whatever lies there."""
    if not tab.locator("#own").is_visible():
        tab.get_by_text("Or open posteriors of your own model").click()
    if tab.locator("#own").get_by_label("Clear").count():
        tab.locator("#own").get_by_label("Clear").click()
    tab.locator("#own input[type=file]").set_input_files(path)


def said(tab) -> str:
    """Of the posteriors that were dropped."""
    return tab.locator("#said div.prose").inner_text().strip()  # not the sign that it is being worked on


def pointer_over_frame(tab, result, frame: int) -> None:
    """Move the pointer to the middle of a frame of the first lane of what is shown."""
    box = tab.locator(".ctc-lens .scroller").bounding_box()
    width = tab.evaluate("() => parseFloat(document.querySelector('.ctc-lens .track').style.width)")
    per_frame = width / result.duration_s * result.emission.frame_s
    tab.mouse.move(box["x"] + 1 + (frame + 0.5) * per_frame, box["y"] + 170)


def explained(tab) -> int:
    """The number of the frame that the panel explains, from 0."""
    return int(tab.locator(".ctc-lens .heading strong").inner_text().split()[1]) - 1


def type_reference(tab, text: str) -> None:
    tab.get_by_label("What was really said?").fill(text)
    tab.get_by_role("button", name="Align").click()


def heard(tab) -> str:
    return tab.locator("label", has_text="What it heard").locator("textarea, input").input_value()


def wait_to_hear(tab, text: str) -> None:
    """The texts of one answer reach the page one after the other."""
    expect(tab.locator("label", has_text="What it heard").locator("textarea, input")).to_have_value(text, timeout=60_000)


def field(tab, label: str):
    """The text box in sight that has this label."""
    return tab.locator("label", has_text=label).locator("textarea, input").filter(visible=True)


def frames_of(tab) -> int:
    return int(tab.locator(".ctc-lens .summary").inner_text().split()[0])


def words_of(tab, lane: int = 0) -> list[str]:
    """The words of a lane, without the sign of those whose times are hard to believe."""
    return [
        word.removeprefix("⚠ ") for word in tab.locator(".ctc-lens .words").nth(lane).locator("button").all_inner_texts()
    ]


def wait_for_words(tab, words: list[str], lane: int = 0) -> None:
    """Of the whole recording: the view is redrawn a moment after its words below it, and lays out only what is in sight."""
    tab.get_by_role("button", name="Show the whole recording").click()
    shown = f"[...(document.querySelectorAll('.ctc-lens .words')[{lane}]?.querySelectorAll('.word') ?? [])]"
    joined = f"{shown}.map(word => word.textContent.replace('⚠ ', '')).join(' ')"
    tab.wait_for_function(f"words => {joined} === words", arg=" ".join(words))


def open_tab(tab, name: str) -> None:
    tab.get_by_role("tab", name=name, exact=True).click()


def wait_until_settled(tab) -> None:
    """What is still fading in has no contrast yet. Looked at three times: one event may follow upon another."""
    still = "document.getAnimations().every(each => each.playState === 'finished')"
    for _ in range(3):
        tab.wait_for_function(f"!document.querySelector('.pending') && {still}")
        tab.wait_for_timeout(300)


def assert_accessible(tab, *parts: str) -> None:
    """axe finds nothing wrong in these parts of the page, once they have faded in."""
    wait_until_settled(tab)
    for part in parts:
        found = Axe().run(tab, context=part).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"]) for each in found] == []
