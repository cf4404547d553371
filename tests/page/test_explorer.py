"""The alignment explorer in Chromium: keys, zoom, sound, a typed sentence, differences, files to take away."""

import json
import re

import pytest
from actions import (
    EXAMPLES,
    PHONE,
    assert_accessible,
    explained,
    frames_of,
    pointer_over_frame,
    type_reference,
    upload,
    visitor,
    words_of,
)

from asr_core import align, posteriors
from asr_core.alignment import CONFIDENCE
from asr_core.comparison import differences
from asr_core.export import export_lanes
from asr_core.viewer.offline import replay
from asr_core.viewer.payload import Lane, reference_lanes

CLIP = EXAMPLES[1]


@pytest.fixture(scope="module")
def expected(transcriber):
    return transcriber.transcribe(CLIP.path, "greedy")


@pytest.fixture
def shown(tab):
    tab.get_by_label("Letters alone").click()
    upload(tab, CLIP.path)
    return tab


def press(tab, *keys: str) -> None:
    tab.locator(".ctc-lens .scroller").focus()
    for key in keys:
        tab.keyboard.press(key)


def track_width(tab) -> float:
    return tab.evaluate("() => parseFloat(document.querySelector('.ctc-lens .track').style.width)")


def scroll_left(tab) -> float:
    return tab.evaluate("() => document.querySelector('.ctc-lens .scroller').scrollLeft")


def test_arrows_step_by_frame_and_with_shift_by_letter(shown, expected):
    first, second, third = (token.first for token in expected.tokens[:3])
    assert explained(shown) == first
    press(shown, "ArrowRight", "ArrowRight", "ArrowLeft")
    assert explained(shown) == first + 1
    press(shown, "ArrowLeft", "Shift+ArrowRight")
    assert explained(shown) == second
    press(shown, "Shift+ArrowRight", "Shift+ArrowLeft", "Shift+ArrowLeft")
    assert explained(shown) == first
    assert third > second


def test_space_plays_and_escape_stops(shown):
    press(shown, " ")
    shown.get_by_role("button", name="Play the recording").get_by_text("Stop").wait_for()
    shown.wait_for_function("window.plays.length === 1")
    assert shown.evaluate("window.plays") == [[0, pytest.approx(CLIP.duration_s, abs=0.01)]]
    press(shown, "Escape")
    shown.get_by_role("button", name="Play the recording").get_by_text("Play").wait_for()


def test_what_is_asked_for_before_the_sound_is_there_plays_when_it_comes(shown):
    held = []
    shown.route("**/*.wav", lambda route: held.append(route))
    shown.get_by_role("button", name="the streets were").click()
    shown.locator(".ctc-lens .word").get_by_text("the", exact=True).first.wait_for()
    shown.wait_for_function("() => document.querySelector('.ctc-lens .summary').textContent.startsWith('102 ')")
    shown.get_by_role("button", name="Play the recording").click()
    assert shown.evaluate("window.plays") == []
    held[0].continue_()
    shown.wait_for_function("window.plays.length === 1")


def test_letters_appear_as_their_frames_are_heard(shown, expected):
    press(shown, " ")
    shown.wait_for_function("document.querySelectorAll('.ctc-lens .letter.ahead').length > 0")
    ahead = shown.locator(".ctc-lens .letter.ahead").count()
    shown.wait_for_function(f"document.querySelectorAll('.ctc-lens .letter.ahead').length < {ahead}")
    press(shown, "Escape")
    shown.wait_for_function("document.querySelectorAll('.ctc-lens .ahead').length === 0")


def test_speed_and_padding_are_heard(shown, expected):
    word = next(token for token in expected.tokens if token.end_s - token.start_s < 0.1 and token.start_s > 0.3)
    shown.get_by_role("button", name="Play at least 0.3 s").click()
    shown.get_by_label("Speed", exact=True).select_option("0.5")
    listen = "function (w, o, d) { plays.push([o, d, this.playbackRate.value]) }"
    shown.evaluate(f"() => {{ AudioBufferSourceNode.prototype.start = {listen} }}")
    shown.locator(".ctc-lens .letter").nth(expected.tokens.index(word)).click()
    shown.wait_for_function("window.plays.length === 1")
    offset, duration, speed = shown.evaluate("window.plays[0]")
    assert duration == pytest.approx(0.3, abs=1e-6) and speed == 0.5
    assert offset + duration / 2 == pytest.approx((word.start_s + word.end_s) / 2, abs=1e-6)


def test_the_wheel_scrolls_and_with_control_zooms_where_the_pointer_is(shown, expected):
    pointer_over_frame(shown, expected, 20)
    before = explained(shown)
    width = track_width(shown)
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -200)
    shown.keyboard.up("Control")
    shown.wait_for_function(f"parseFloat(document.querySelector('.ctc-lens .track').style.width) > {width * 1.5}")
    box = shown.locator(".ctc-lens .scroller").bounding_box()
    shown.mouse.move(box["x"] + 1 + 20.5 * width / expected.duration_s * 0.04 + 1, box["y"] + 170)
    assert explained(shown) == before, "the frame under the pointer stays under it"
    left = scroll_left(shown)
    shown.mouse.wheel(0, 150)
    shown.wait_for_function(f"document.querySelector('.ctc-lens .scroller').scrollLeft > {left + 100}")


def test_a_double_click_on_a_word_zooms_to_it(shown, expected):
    width = track_width(shown)
    shown.locator(".ctc-lens .word").nth(2).dblclick()
    shown.wait_for_function(f"parseFloat(document.querySelector('.ctc-lens .track').style.width) > {width * 2}")
    word = shown.locator(f".ctc-lens .word[aria-label^='{expected.words[2].label},']").first.bounding_box()
    scroller = shown.locator(".ctc-lens .scroller").bounding_box()
    assert abs(word["x"] + word["width"] / 2 - scroller["x"] - scroller["width"] / 2) < 20
    frames = expected.words[2].last + 1 - expected.words[2].first
    widest = 0.6 * shown.evaluate("document.querySelector('.ctc-lens .scroller').clientWidth")
    assert word["width"] == pytest.approx(min(64 * frames, widest), abs=0.1)


def test_the_minimap_goes_where_it_is_clicked(shown):
    box = shown.locator(".ctc-lens .minimap").bounding_box()
    shown.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    shown.wait_for_function("document.querySelector('.ctc-lens .scroller').scrollLeft > 300")


def test_help_opens_with_a_question_mark_and_closes(shown):
    press(shown, "?")
    shown.get_by_role("dialog", name="Help").wait_for()
    shown.keyboard.press("Escape")
    shown.wait_for_selector(".ctc-lens dialog", state="hidden")


def test_another_span_convention_moves_words_and_files(shown, expected):
    before = shown.locator(".ctc-lens .word").first.bounding_box()["width"]
    shown.get_by_label("Where letters and words begin and end").select_option("boundary")
    shown.wait_for_function(f"document.querySelector('.ctc-lens .word').getBoundingClientRect().width > {before}")
    with shown.expect_download() as download:
        shown.get_by_role("button", name="CTM", exact=True).click()
    assert download.value.suggested_filename == "transcript.boundary.ctm"
    words = [line.split() for line in download.value.path().read_text().splitlines() if not line.startswith(";;")]
    start_s = expected.with_convention("boundary").words[0].start_s
    assert float(words[0][2]) == pytest.approx(start_s, abs=1e-3)
    type_reference(shown, CLIP.text)
    shown.wait_for_selector(".ctc-lens .title")
    chosen = shown.get_by_label("Where letters and words begin and end")
    assert chosen.input_value() == "boundary", "what a person chose outlives the result"


def test_a_typed_sentence_becomes_a_second_lane_with_its_costs(shown, expected):
    type_reference(shown, CLIP.text)
    shown.wait_for_selector(".ctc-lens .title")
    reference = align(expected, CLIP.text)
    notes = shown.locator(".ctc-lens .notes").inner_text()
    assert f"CTC loss over all paths {reference.loss:.2f} nats" in notes
    assert f"WER {reference.words.rate:.0%}" in notes
    assert words_of(shown, 1) == CLIP.text.split()
    press(shown, "ArrowDown")
    details = shown.locator(".ctc-lens .details")
    details.get_by_text("reference", exact=True).wait_for()
    press(shown, "Shift+ArrowRight")
    index = next(i for i, token in enumerate(reference.aligned.tokens) if token.first <= explained(shown) <= token.last)
    assert f"cost {reference.costs[index]:.2f} nats" in details.inner_text()


def test_differences_are_marked_by_shape_and_visited_in_turn(shown, expected):
    type_reference(shown, CLIP.text)
    shown.wait_for_selector(".ctc-lens .title")
    found = differences(expected, align(expected, CLIP.text).aligned)
    assert shown.locator(".ctc-lens .differences span").inner_text() == f"{len(found)} differences"
    marks = shown.locator(".ctc-lens .letter.other").first
    assert "wavy" in marks.evaluate("letter => getComputedStyle(letter).textDecoration")
    starts = []
    for _ in range(len(found)):
        shown.get_by_role("button", name="Next difference").click()
        starts.append(explained(shown))
    assert starts == sorted(starts) and len(set(starts)) > len(found) / 2
    shown.get_by_role("button", name="Next difference").click()
    assert explained(shown) == starts[0], "after the last comes the first"
    shown.get_by_role("button", name="Previous difference").click()
    shown.get_by_role("button", name="Previous difference").click()
    assert explained(shown) == starts[-2]


def test_html_in_a_typed_sentence_is_text(shown):
    type_reference(shown, "<img src=x onerror=alert(1)> <script>alert(2)</script>")
    shown.get_by_text("The model's alphabet lacks").first.wait_for()
    assert shown.locator("img[src='x']").count() == 0
    offer = shown.get_by_role("button", name=re.compile("^Use: "))
    assert offer.inner_text().startswith("Use: img src equals x onerror")


def test_characters_that_the_alphabet_lacks_are_named_and_spelt(shown):
    type_reference(shown, "42 cafés")
    shown.get_by_text("lacks “4”, “2”, “é”").first.wait_for()
    shown.get_by_role("button", name="Use: forty two cafes").click()
    shown.wait_for_selector(".ctc-lens .title")
    assert words_of(shown, 1) == ["forty", "two", "cafes"]


def test_a_sentence_too_long_for_the_audio_says_both_numbers(shown, expected):
    type_reference(shown, "la " * 60)
    shown.get_by_text(f"and there are {len(expected.path)}").first.wait_for()


@pytest.mark.parametrize(
    ("button", "format"),
    [
        ("SRT", "srt"),
        ("VTT", "vtt"),
        ("CTM", "ctm"),
        ("TextGrid", "textgrid"),
        ("JSON", "json"),
        ("JSON, emission", "json-emission"),
    ],
)
def test_each_format_is_downloaded_as_the_library_writes_it(shown, expected, button, format):
    with shown.expect_download() as download:
        shown.get_by_role("button", name=button, exact=True).click()
    name, content = export_lanes([Lane("heard", expected)], format)
    assert download.value.suggested_filename == name
    saved = download.value.path().read_text()
    assert (json.loads(saved)["words"] if "json" in format else saved) == (
        json.loads(content)["words"] if "json" in format else content
    )


def test_a_picture_of_the_view_is_saved(shown):
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Save a picture").click()
    assert download.value.suggested_filename == "ctc-lens.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_the_offline_page_works_from_disk_without_a_network(browser, tmp_path, expected):
    page_file = tmp_path / "replay.html"
    page_file.write_text(replay(*reference_lanes(align(expected, CLIP.text))))
    context = browser.new_context(offline=True)
    page = context.new_page()
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.add_init_script(
        "window.plays = []; AudioBufferSourceNode.prototype.start = function (w, o, d) { plays.push([o, d]) }"
    )
    page.goto(page_file.as_uri())
    page.wait_for_selector(".ctc-lens .word")
    assert frames_of(page) == len(expected.path)
    pointer_over_frame(page, expected, expected.tokens[3].first)
    assert explained(page) == expected.tokens[3].first
    page.wait_for_timeout(300)
    page.locator(".ctc-lens .word").first.click()
    page.wait_for_function("window.plays.length === 1")
    assert page.evaluate("window.plays[0][0]") == pytest.approx(expected.words[0].start_s, abs=1e-6)
    context.close()
    assert errors == [] and all(url.startswith(("file:", "data:", "blob:")) for url in requests)


def test_a_reading_without_its_sound_is_shown_without_spectrogram_and_playback(browser, tmp_path, expected):
    labels, blank = expected.emission.alphabet.labels, expected.emission.alphabet.blank
    unheard = posteriors.of_arrays(expected.emission.log_probs, labels, blank, expected.emission.frame_s).read("greedy")
    page_file = tmp_path / "replay.html"
    page_file.write_text(replay(Lane("heard", unheard)))
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_selector(".ctc-lens .word")
    assert page.locator(".ctc-lens .word").all_inner_texts() == [word.label for word in unheard.words]
    assert page.get_by_role("button", name="Play the recording").is_disabled()
    assert "spectrogram" not in page.locator(".ctc-lens .gutter").inner_text()
    page.locator(".ctc-lens .word").first.click()
    assert explained(page) == unheard.words[0].first
    page.close()
    assert errors == []


def test_the_line_below_a_word_is_as_long_as_its_confidence_and_both_are_said(browser, tmp_path, expected):
    told = expected.with_confidences([(index % 11) / 10 for index in range(len(expected.words))])
    page_file = tmp_path / "replay.html"
    page_file.write_text(replay(Lane("heard", told)))
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_selector(".ctc-lens .word")
    words = page.locator(".ctc-lens .word")
    lines = words.evaluate_all("words => words.map((word) => getComputedStyle(word).backgroundSize)")
    assert [float(re.fullmatch(r"(?:calc\()?([0-9.e-]+)%.* 3px", line)[1]) for line in lines] == pytest.approx(
        [100 * word.confidence for word in told.words], abs=0.3
    )
    for index in (2, 4):
        word, label = told.words[index], words.nth(index).get_attribute("aria-label")
        assert f"score {word.score:.0%}, confidence {word.confidence:.0%}" in label.replace(" %", "%")
    assert CONFIDENCE in page.locator(".ctc-lens .summary").inner_text()
    page.close()


def test_a_notebook_shows_the_view_in_a_frame_of_its_own(browser, expected):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_content(f"<h1>A notebook</h1>{expected.show()._repr_html_()}")
    frame = page.frame_locator("iframe[title='CTC Lens']")
    frame.locator(".ctc-lens .word").first.wait_for()
    assert frame.locator(".ctc-lens .word").count() == len(expected.words)
    context.close()


def test_a_phone_scrolls_by_touch_and_never_sideways(browser, url):
    with visitor(browser, url, **PHONE) as tab:
        tab.get_by_role("button", name="the floors were").tap()
        tab.wait_for_selector(".ctc-lens .word")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        tab.locator(".ctc-lens .scroller").scroll_into_view_if_needed()
        box = tab.locator(".ctc-lens .scroller").bounding_box()
        before = explained(tab)
        tab.touchscreen.tap(box["x"] + 200, box["y"] + 240)
        tab.wait_for_function(f"!document.querySelector('.ctc-lens .heading strong').textContent.endsWith(' {before + 1}')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_view_is_accessible_by_axe(browser, url, theme):
    with visitor(browser, f"{url}?__theme={theme}") as tab:
        tab.get_by_role("button", name="the floors were").click()
        tab.wait_for_selector(".ctc-lens .word")
        type_reference(tab, CLIP.text)
        tab.get_by_text("CTC loss over all paths").wait_for()
        assert_accessible(tab, ".ctc-lens")
