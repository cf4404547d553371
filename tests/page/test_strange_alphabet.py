"""A checkpoint may come from anywhere: labels that are HTML, Markdown or line breaks reach the page as text."""

from dataclasses import replace

import pytest
from actions import EXAMPLES, open_tab, upload

import app
from asr_core import Alphabet, Transcriber

RUN = "<img src=x onerror=window.sprung=1>"
STRANGE = {"e": RUN, "t": "<script>window.sprung=1</script>", "a": "\n", "o": "[x](javascript:window.sprung=1)"}
STRANGE |= {"i": "**", "n": "&lt;", "s": "$x$", "h": "<b>", "r": '"'}


@pytest.fixture(scope="module")
def strange(transcriber):
    """The page's model, which writes these for the most frequent letters."""
    labels = tuple(STRANGE.get(label, label) for label in transcriber.model.alphabet.labels)
    model = replace(transcriber.model, name=RUN, alphabet=Alphabet(labels, transcriber.model.alphabet.blank))
    return Transcriber(replace(model, language_model=None))


def test_labels_that_are_html_are_shown_as_text(browser, strange):
    said = {token.label for token in strange.transcribe(EXAMPLES[0].path).tokens}
    assert said >= set(STRANGE.values())
    page = app.build(strange, [strange])  # compared with itself: its name is shown too
    _, url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    tab = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        tab.goto(url)
        tab.wait_for_selector(".ctc-lens .empty")
        upload(tab, EXAMPLES[0].path)
        shown = tab.locator(".ctc-lens .words").first.text_content()
        assert RUN in shown and "<b>" in shown and "&lt;" in shown
        open_tab(tab, "Learn")
        tab.locator("#lesson").get_by_text("1 of 6").wait_for()
        for step in range(2, 7):
            tab.get_by_role("button", name="Next").click()
            tab.locator("#lesson").get_by_text(f"{step} of 6").wait_for()
        open_tab(tab, "Break it")
        tab.get_by_text("The alphabet has no token for").wait_for()  # a sentence has to be spelled with single letters
        assert tab.evaluate("() => window.sprung") is None
        for forbidden in ("img[src=x]", "a[href^=javascript]", ".ctc-lens script", "b"):
            assert tab.locator(forbidden).count() == 0, forbidden
    finally:
        tab.close()
        page.close()
