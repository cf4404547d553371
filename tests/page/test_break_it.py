"""The tab "Break it" in Chromium: every mistake with both losses, its verdict and its alignment."""

import math

import pytest
from actions import EXAMPLES, assert_accessible, open_tab, type_reference, upload, visitor, wait_for_words

from asr_core.doctor.mistakes import MISTAKES, Clip

CLIP = EXAMPLES[1]


@pytest.fixture(scope="module")
def clip(transcriber):
    heard = transcriber.transcribe(CLIP.path)
    return Clip(transcriber, heard.sound, heard.text)


@pytest.fixture
def opened(tab):
    upload(tab, CLIP.path)
    open_tab(tab, "Break it")
    told(tab).get_by_text("Healthy: 1 utterance, nothing found.").wait_for()
    return tab


def told(tab):
    return tab.locator("#broken")


def choose(tab, name: str) -> None:
    tab.get_by_label(name, exact=True).click()


def cells(tab, row: int) -> list[str]:
    return told(tab).locator("tbody tr").nth(row).locator("td").all_inner_texts()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_shown_with_both_losses_its_verdict_and_its_path(opened, clip, mistake):
    right, broken = mistake.on(clip)
    choose(opened, mistake.name)
    told(opened).get_by_text(f"- {mistake.wrong}", exact=True).wait_for()
    told(opened).get_by_text(f"+ {mistake.right}", exact=True).wait_for()
    assert cells(opened, 0)[:2] == ["the right code", f"{right.loss:.2f} nats"]
    try:
        loss = f"{broken.loss:.2f} nats".replace("-", "−") if math.isfinite(broken.loss) else "∞"
    except RuntimeError as error:
        loss = "none: torch refuses"
        assert str(error).partition("(")[0].strip() in cells(opened, 1)[2]
    assert cells(opened, 1)[:2] == ["this code", loss]
    assert broken.diagnosis.findings
    for finding in broken.diagnosis.findings:
        told(opened).get_by_role("heading", name=finding.name).wait_for()
        told(opened).get_by_text(finding.evidence).wait_for()
        told(opened).get_by_text(finding.fix).first.wait_for()
    lanes = 1 if broken.aligned is None else 2
    opened.wait_for_function(f"document.querySelectorAll('.ctc-lens .words').length === {lanes}")
    wait_for_words(opened, [word.label for word in right.aligned.words])
    if broken.aligned is None:
        told(opened).get_by_text("no path to draw").wait_for()
    else:
        assert opened.locator(".ctc-lens .title strong").all_inner_texts() == ["right", "broken"]
        wait_for_words(opened, [word.label for word in broken.aligned.words], lane=1)


def test_the_typed_sentence_is_the_target(tab):
    upload(tab, CLIP.path)
    type_reference(tab, "the floors were")
    tab.get_by_text("CTC loss over all paths").wait_for()
    open_tab(tab, "Break it")
    tab.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    wait_for_words(tab, ["the", "floors", "were"])


def test_without_a_recording_an_example_is_loaded_first(tab, transcriber):
    with tab.expect_response("**/*.wav"):
        open_tab(tab, "Break it")
    told(tab).get_by_text("Healthy: 1 utterance").wait_for()
    wait_for_words(tab, transcriber.transcribe(EXAMPLES[0].path).text.split())


def test_files_are_of_what_was_heard_never_of_a_mistake(opened, transcriber):
    choose(opened, "Blank in the target")
    told(opened).get_by_text("The blank is in the targets").wait_for()
    open_tab(opened, "Read")
    wait_for_words(opened, transcriber.transcribe(CLIP.path).text.split(), lane=1)
    with opened.expect_download() as download:
        opened.get_by_role("button", name="VTT", exact=True).click()
    assert transcriber.transcribe(CLIP.path).words[0].label in download.value.path().read_text()


def test_a_text_without_a_space_cannot_lose_it_and_it_says_so(opened):
    open_tab(opened, "Read")
    type_reference(opened, "floors")
    opened.get_by_text("CTC loss over all paths").wait_for()
    open_tab(opened, "Break it")
    choose(opened, "Blank in the target")
    told(opened).get_by_text("The text has no space").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_mistake_is_accessible_by_axe(browser, url, theme, width):
    with visitor(browser, f"{url}?__theme={theme}", viewport={"width": width, "height": 1000}) as tab:
        open_tab(tab, "Break it")
        choose(tab, "Padding of the batch taken for sound")
        told(tab).get_by_text("padding leaks").first.wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert_accessible(tab, ".tabs", ".ctc-lens")
