"""The tab "Learn" in Chromium: links, steps, the view that follows."""

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
    wait_for_words,
)

from asr_core.lessons import LESSONS, Heard


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


def link(tab) -> str:
    return field(tab, "A link to this step").input_value()


def test_six_steps_forward_and_back_on_the_visitors_own_recording(tab, lessons):
    upload(tab, EXAMPLES[2].path)
    open_tab(tab, "Learn")
    for step, lesson in enumerate(lessons[2], 1):
        shows(tab, step, lesson)
        assert link(tab) == f"{tab.url.rstrip('/')}/?learn={step}"
        if step < 6:
            tab.get_by_role("button", name="Next", exact=True).click()
    assert tab.get_by_role("button", name="Next", exact=True).is_disabled()
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
    context = browser.new_context(viewport={"width": width, "height": 1000})
    tab = context.new_page()
    tab.goto(f"{url}?learn=4")
    shows(tab, 4, lessons[0][3])
    assert frames_of(tab) == 92, "the first example, where nobody has spoken yet"
    tab.wait_for_function(
        "() => { const box = document.querySelector('#lesson').getBoundingClientRect();"
        " return box.top >= 0 && box.bottom <= innerHeight + 1 }"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    start, end = tab.evaluate(
        "() => { const s = document.querySelector('.ctc-lens .scroller');"
        " const w = parseFloat(document.querySelector('.ctc-lens .track').style.width);"
        " return [s.scrollLeft / w, (s.scrollLeft + s.clientWidth) / w] }"
    )
    first, last = lessons[0][3].focus
    assert start <= first / 92 and (last + 1) / 92 <= end, "its frames are in sight"
    context.close()


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
    context = browser.new_context(viewport={"width": width, "height": 1000})
    tab = context.new_page()
    tab.goto(f"{url}?learn=5&__theme={theme}")
    shows(tab, 5, lessons[0][4])
    assert_accessible(tab, ".tabs", ".ctc-lens")
    context.close()
