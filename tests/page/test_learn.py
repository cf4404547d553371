"""The tab "Learn" in Chromium: links, steps, the view that follows."""

from threading import Event

import pytest
from actions import (
    EXAMPLES,
    assert_accessible,
    explained,
    field,
    frames_of,
    open_tab,
    type_reference,
    upload,
    visitor,
    wait_for_words,
    wait_until,
)
from playwright.sync_api import expect

from asr_core.lessons import LESSONS, Heard
from asr_core.page import learn


@pytest.fixture(scope="module")
def lessons(transcriber):
    """The steps of each example."""
    heard = [Heard(transcriber.transcribe(example.path)) for example in EXAMPLES]
    return [[make(each) for make in LESSONS] for each in heard]


def shows(tab, step: int, lesson) -> None:
    """Waits for the step's words, and checks the view's spot and the link."""
    panel = tab.locator("#lesson")
    panel.get_by_role("heading", name=f"{step} of 6: {lesson.title}", exact=True).wait_for()
    for sentence in (*lesson.sentences, lesson.question):
        panel.get_by_text(sentence).wait_for()
    tab.wait_for_function(
        "frame => document.querySelector('.ctc-lens .heading strong').textContent === `Frame ${frame}`",
        arg=lesson.focus[0] + 1,
    )


def test_six_steps_forward_and_back_on_the_visitors_own_recording(tab, lessons):
    upload(tab, EXAMPLES[2].path)
    open_tab(tab, "Learn")
    for step, lesson in enumerate(lessons[2], 1):
        shows(tab, step, lesson)
        expect(field(tab, "A link to this step")).to_have_value(f"{tab.url.rstrip('/')}/?learn={step}")
        if step < 6:
            tab.get_by_role("button", name="Next", exact=True).click()
    expect(tab.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    tab.get_by_role("button", name="Back", exact=True).click()
    shows(tab, 5, lessons[2][4])


def test_the_view_shows_the_best_path_alone_and_gives_back_what_was_there(tab, transcriber):
    upload(tab, EXAMPLES[1].path)
    type_reference(tab, EXAMPLES[1].text)
    tab.get_by_text("CTC loss over all paths").wait_for()
    open_tab(tab, "Learn")
    tab.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    letters = transcriber.transcribe(EXAMPLES[1].path, "greedy")
    wait_for_words(tab, [word.label for word in letters.words])
    open_tab(tab, "Read")
    wait_for_words(tab, EXAMPLES[1].text.split(), lane=1)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_link_opens_its_step_and_brings_it_into_sight(browser, url, lessons, width):
    with visitor(browser, f"{url}?learn=4", viewport={"width": width, "height": 1000}) as tab:
        shows(tab, 4, lessons[0][3])
        assert frames_of(tab) == 92, "the first example, where nobody has spoken yet"
        tab.wait_for_function(
            "() => { const box = document.querySelector('#lesson').getBoundingClientRect();"
            " return box.top >= 0 && box.bottom <= innerHeight + 1 }"
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        first, last = lessons[0][3].focus
        tab.wait_for_function(  # its frames are in sight
            "([first, last]) => { const s = document.querySelector('.ctc-lens .scroller');"
            " const w = parseFloat(document.querySelector('.ctc-lens .track').style.width);"
            " return s.scrollLeft / w <= first / 92 && (last + 1) / 92 <= (s.scrollLeft + s.clientWidth) / w }",
            arg=[first, last],
        )


@pytest.mark.parametrize("asked", ["0", "7", "x", "-1", "<b>", "%F0%9F%99%82", "1e0"])
def test_a_link_to_no_step_opens_the_page_as_ever(browser, url, asked):
    tab = browser.new_page()
    tab.goto(f"{url}?learn={asked}")
    tab.wait_for_selector(".ctc-lens .empty")
    tab.get_by_label("What was really said?").wait_for()
    tab.wait_for_timeout(500)
    assert tab.locator(".ctc-lens .empty").is_visible()
    tab.close()


def test_another_recording_is_taught_at_once(tab, lessons):
    open_tab(tab, "Learn")
    shows(tab, 1, lessons[0][0])
    tab.get_by_role("button", name="Next", exact=True).click()
    shows(tab, 2, lessons[0][1])
    tab.get_by_role("button", name="the floors were").click()
    shows(tab, 2, lessons[1][1])


def test_nothing_is_loaded_before_a_tab_needs_it(tab):
    for name in ("Doctor", "Read"):
        open_tab(tab, name)
        tab.wait_for_timeout(300)
        assert tab.locator(".ctc-lens .empty").is_visible()


def test_what_the_view_was_told_to_look_at_can_be_left(tab, lessons):
    open_tab(tab, "Learn")
    shows(tab, 1, lessons[0][0])
    tab.locator(".ctc-lens .scroller").focus()
    tab.keyboard.press("ArrowRight")
    assert explained(tab) == lessons[0][0].focus[0] + 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_step_is_accessible_by_axe(browser, url, lessons, theme, width):
    with visitor(browser, f"{url}?learn=5&__theme={theme}", viewport={"width": width, "height": 1000}) as tab:
        shows(tab, 5, lessons[0][4])
        assert_accessible(tab, ".tabs", ".ctc-lens")


def test_a_step_that_comes_after_its_tab_was_left_covers_nothing(tab, monkeypatch):
    started, go_on = Event(), Event()

    def late(heard: Heard):
        started.set()
        assert go_on.wait(30)
        return first(heard)

    first = LESSONS[0]
    monkeypatch.setattr(learn, "LESSONS", (late, *LESSONS[1:]))
    tab.get_by_role("button", name=" ".join(EXAMPLES[1].text.split()[:4])).click()
    tab.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 2")
    open_tab(tab, "Learn")
    wait_until(started.is_set)
    open_tab(tab, "Read")
    tab.wait_for_timeout(1000)
    go_on.set()
    tab.wait_for_timeout(2000)
    assert tab.locator(".ctc-lens .words").count() == 2, "both readings, and no lesson"
