"""Reference times in Chromium: dropped, seen beside what was heard, compared, taken away; and what is no such file."""

import json
import re
from pathlib import Path

import pytest
from actions import (
    EXAMPLES,
    PHONE,
    assert_accessible,
    explained,
    open_tab,
    server_files,
    type_reference,
    upload,
    visitor,
    wait_until,
    wait_until_settled,
)

from asr_core.boundaries import compare
from asr_core.export import export
from asr_core.merge import export_merge
from asr_core.reference import align
from asr_core.tracks import load
from asr_core.viewer import parts as parts_module
from asr_core.viewer.offline import replay
from asr_core.viewer.parts import Parts, beside
from asr_core.viewer.payload import Lane, reference_lanes

CLIP = EXAMPLES[1]
FILE = "input[type=file][accept*=ctm]"
TABLE = "#reference-times table"


@pytest.fixture(scope="module")
def expected(transcriber):
    return transcriber.transcribe(CLIP.path, "greedy")


@pytest.fixture(scope="module")
def hand(tmp_path_factory, expected):
    """The true sentence, as an annotator with wide boundaries would have it."""
    path = tmp_path_factory.mktemp("tracks") / "hand.TextGrid"
    path.write_text(export(align(expected, CLIP.text).aligned.with_convention("boundary"), "textgrid"))
    return path


@pytest.fixture
def shown(tab):
    tab.get_by_label("Letters alone").click()
    upload(tab, CLIP.path)
    return tab


def drop(tab, path) -> None:
    tab.locator(FILE).set_input_files(path)
    tab.locator(TABLE).wait_for()
    tab.locator(".ctc-lens .timed .word").first.wait_for()


def take_away(tab) -> None:
    tab.get_by_label("Clear").last.click()
    tab.locator(".ctc-lens .timed").wait_for(state="detached")
    tab.locator(TABLE).wait_for(state="detached")


def timed(tab) -> list[str]:
    tab.get_by_role("button", name="Show the whole recording").click()
    wait_until_settled(tab)
    return tab.locator(".ctc-lens .timed .word").all_inner_texts()


def cells(tab) -> list[list[str]]:
    rows = tab.locator(f"{TABLE} tbody tr")
    return [rows.nth(index).locator("td").all_inner_texts() for index in range(rows.count())]


def saved(tab, button: str) -> tuple[str, str]:
    with tab.expect_download() as download:
        tab.get_by_role("button", name=button, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_text()


def test_a_file_of_times_is_a_lane_at_its_own_times_and_a_table_and_both_go_with_it(shown, expected, hand):
    drop(shown, hand)
    track = load(hand, expected.sound)
    assert timed(shown) == [word.label for word in track.words] == CLIP.text.split()
    assert shown.locator(".ctc-lens .title strong").all_inner_texts() == ["hand.TextGrid"]
    per_second = shown.evaluate("parseFloat(document.querySelector('.ctc-lens .track').style.width)") / CLIP.duration_s
    box = shown.locator(".ctc-lens .timed .word").nth(3)
    left, width = (box.evaluate(f"word => parseFloat(word.style.{side})") / per_second for side in ("left", "width"))
    word = track.words[3]
    assert (left, left + width) == (pytest.approx(word.start_s, abs=0.01), pytest.approx(word.end_s, abs=0.01))
    box.click()
    shown.wait_for_function("window.plays.length === 1")
    assert shown.evaluate("window.plays.at(-1)") == [pytest.approx(word.start_s, abs=1e-4)] + [
        pytest.approx(word.end_s - word.start_s, abs=1e-4)
    ]

    comparison = compare(expected, track)
    signed = ["" if row.start_ms is None else f"{row.start_ms:+d}".replace("-", "−") for row in comparison.rows]
    table = cells(shown)
    assert [row[3] for row in table] == ["0" if text == "+0" else text for text in signed]
    assert [row[1:3] for row in table] == [[r.text, r.reference.label if r.reference else ""] for r in comparison.rows]
    words = shown.locator("#reference-times").inner_text()
    assert f"{len(comparison.disagreements)} of {len(comparison.rows)} disagree" in words
    assert f"starts are {comparison.median_start_ms:g} ms apart" in words
    assert "Tier “words (boundary)” was read, of 2." in words

    lanes = beside([Lane("heard", expected)], track)
    assert saved(shown, "Merge, TextGrid") == export_merge(lanes, "merge")
    assert saved(shown, "Differences, TSV") == export_merge(lanes, "differences")
    _, page = saved(shown, "Offline page")
    assert '"name": "hand.TextGrid"' in page

    take_away(shown)
    shown.get_by_role("button", name="Merge, TextGrid").wait_for(state="detached")
    assert shown.locator(".ctc-lens .differences").count() == 0


def test_disagreements_are_visited_by_buttons_and_keys_and_explained(shown, expected, hand):
    drop(shown, hand)
    comparison = compare(expected, load(hand, expected.sound))
    many = len(comparison.disagreements)
    assert shown.locator(".ctc-lens .differences span").inner_text() == f"{many} differences"
    shown.get_by_role("button", name="Next difference").click()
    first = explained(shown)
    row = comparison.disagreements[0]
    assert first == row.heard[0].first
    details = shown.locator(".ctc-lens .details").inner_text()
    start = f"{row.start_ms:+d}".replace("-", "−") if row.start_ms else "0"
    assert f"hand.TextGrid: “{row.reference.label}”" in details and f"start {start} ms" in details
    shown.locator(".ctc-lens .scroller").focus()
    visited = [first]
    for _ in range(many - 1):
        shown.keyboard.press("n")
        visited.append(explained(shown))
    assert visited == sorted(visited) and len(set(visited)) > many / 2
    shown.keyboard.press("n")
    assert explained(shown) == first
    shown.keyboard.press("p")
    assert explained(shown) == visited[-1]
    dashed = shown.locator(".ctc-lens .timed .differs").first
    assert dashed.evaluate("word => getComputedStyle(word).borderStyle") == "dashed", "not by colour alone"
    assert "heard minus reference" in dashed.get_attribute("aria-label")


def test_another_convention_and_a_typed_sentence_are_compared_anew(shown, expected, hand):
    drop(shown, hand)
    spans = shown.get_by_label("Where letters and words begin and end")
    spans.focus()
    spans.select_option("boundary")
    shown.locator("#reference-times").get_by_text("spans by boundary").wait_for()
    track = load(hand, expected.sound)
    many = len(compare(expected.with_convention("boundary"), track).disagreements)
    shown.locator(".ctc-lens .differences span").get_by_text(f"{many} differences", exact=True).wait_for()
    assert spans.evaluate("select => select === document.activeElement")
    type_reference(shown, CLIP.text)
    shown.locator("#reference-times").get_by_text("0 of 15 disagree").wait_for()
    shown.locator(".ctc-lens .timed .differs").first.wait_for(state="detached")
    lanes = beside(reference_lanes(align(expected, CLIP.text)), track)
    assert saved(shown, "Differences, TSV") == export_merge(lanes, "differences", "boundary")


def test_the_file_may_come_first_and_stays_for_other_readings_and_tabs(tab, hand):
    tab.locator(FILE).set_input_files(hand)
    tab.get_by_text("There is no recording yet: its words will be compared").wait_for()
    tab.get_by_label("Letters alone").click()
    upload(tab, CLIP.path)
    tab.locator(".ctc-lens .timed .word").first.wait_for()
    tab.get_by_text("There is no recording yet: its words").wait_for(state="detached")
    tab.get_by_label("With a language model").click()
    tab.locator("#reference-times").get_by_text("carpet").first.wait_for()
    tab.locator(".ctc-lens .timed .word").first.wait_for()
    open_tab(tab, "Learn")
    tab.locator(".ctc-lens .timed").wait_for(state="detached")
    open_tab(tab, "Read")
    tab.locator(".ctc-lens .timed .word").first.wait_for()


BAD = {
    "late.ctm": ("x 1 500 1 word\n", "ends at 501.00 s, and the recording at"),
    "broken.json": ("{", "it is no JSON"),
    "<b>.ctm": (b"\x80\x04\x95", "cannot be used: it is no text in UTF-8 or UTF-16"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none_gets_a_sentence_and_its_predecessors_lane_goes(shown, tmp_path, hand, name):
    drop(shown, hand)
    content, sentence = BAD[name]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    take_away(shown)
    shown.locator(FILE).set_input_files(tmp_path / name)
    shown.get_by_text(sentence).wait_for()
    assert shown.locator(TABLE).count() == 0 and shown.locator(".ctc-lens .timed").count() == 0
    assert "Traceback" not in shown.content()


def test_what_a_file_says_is_text(shown, tmp_path):
    evil = ["<img src=x onerror=alert(1)>", "${alert(2)}", "{{alert(3)}}", "[x](javascript:alert(4))", "|a|*b*|$c$|"]
    path = tmp_path / "evil.json"
    path.write_text(json.dumps([{"word": word, "start": i / 2, "end": i / 2 + 0.4} for i, word in enumerate(evil)]))
    shown.on("dialog", lambda dialog: shown.errors.append(dialog.message))
    drop(shown, path)
    assert timed(shown) == evil
    assert [row[2] for row in cells(shown) if row[2]] == evil
    assert shown.locator("img[src='x'], #reference-times a").count() == 0


def test_the_lane_and_the_table_are_accessible_in_light_and_dark(shown, hand):
    drop(shown, hand)
    assert_accessible(shown, ".ctc-lens", "#reference-times")
    shown.evaluate("document.body.classList.add('dark')")
    assert_accessible(shown, ".ctc-lens", "#reference-times")


def test_a_phone_shows_the_lane_and_never_scrolls_sideways(browser, url, hand):
    with visitor(browser, url, **PHONE) as tab:
        tab.get_by_role("button", name="the floors were").tap()
        tab.wait_for_selector(".ctc-lens .word")
        drop(tab, hand)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        one_word = "cells => cells.filter(each => /^\\S+$/.test(each.textContent.trim())).map(each => each.clientHeight)"
        rows = tab.locator(f"{TABLE} tbody tr").filter(has_not_text=re.compile("another word|not in the reference"))
        heights = rows.locator("td").evaluate_all(one_word)
        assert max(heights) < 35, "no word is broken into letters"


def test_a_part_of_a_long_recording_has_its_part_of_the_track_and_the_table_is_of_the_whole(
    tab, monkeypatch, transcriber, expected, hand
):
    monkeypatch.setattr(parts_module, "LONGEST_S", 2.0)
    tab.get_by_label("Letters alone").click()
    upload(tab, CLIP.path)
    drop(tab, hand)
    track = load(hand, expected.sound)
    parts = Parts(beside([Lane("heard", expected)], track))
    assert len(parts) > 1 and 0 < len(parts[1][0].track.words) < len(track.words)
    whole = cells(tab)
    assert len(whole) == len(compare(expected, track).rows)
    assert timed(tab) == [word.label for word in parts[0][0].track.words]
    tab.get_by_role("button", name="Next part").click()
    tab.locator(".ctc-lens .parts").get_by_text("part 2 of").wait_for()
    words = parts[1][0].track.words
    assert timed(tab) == [word.label for word in words]
    label = tab.locator(".ctc-lens .timed .word").first.get_attribute("aria-label")
    assert label.startswith(f"{words[0].label}, {words[0].start_s:.2f} s to {words[0].end_s:.2f} s, ")
    assert cells(tab) == whole
    take_away(tab)
    assert tab.locator(".ctc-lens .parts").get_by_text("part 2 of").count() == 1


def test_a_closed_page_leaves_no_file_of_times(browser, url, hand, tmp_path):
    mine = tmp_path / "mine and nobody else's.TextGrid"
    mine.write_bytes(hand.read_bytes() + b"! mine")

    def mine_or_of_mine(path: Path) -> bool:
        try:
            return "mine" in path.name or "mine and nobody" in path.read_text(errors="ignore")
        except FileNotFoundError:  # deleted since it was listed
            return False

    def left() -> list[Path]:
        return [path for path in server_files() if mine_or_of_mine(path)]

    with visitor(browser, url) as tab:
        tab.get_by_role("button", name="the floors were").click()
        tab.wait_for_selector(".ctc-lens .word")
        drop(tab, mine)
        with tab.expect_download():
            tab.get_by_role("button", name="Merge, TextGrid").click()
        assert len(left()) == 2, "the upload and the merge"
    wait_until(lambda: not left())


def test_the_offline_page_has_the_lane(browser, tmp_path, expected, hand):
    page_file = tmp_path / "replay.html"
    page_file.write_text(replay(*beside([Lane("heard", expected)], load(hand, expected.sound))))
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    page.locator(".ctc-lens .timed .word").first.wait_for()
    assert timed(page) == CLIP.text.split()
    with page.expect_download():
        page.get_by_role("button", name="Save a picture").click()
    page.close()
    assert errors == []
