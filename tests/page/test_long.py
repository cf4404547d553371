"""A recording of twelve minutes in Chromium: part by part, with the times of the whole; and work that nobody waits for."""

import json
import re

import pytest
import soundfile as sf
from actions import explained, open_tab, type_reference, upload, wait_to_hear, words_of
from speech import long_speech
from synthetic import RATE

from asr_core.export import export_lanes
from asr_core.viewer.parts import LONGEST_S, Parts
from asr_core.viewer.payload import Lane

PATIENCE_MS = 300_000  # the machine may have other work


@pytest.fixture(scope="module")
def twelve_minutes(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "lecture.flac"
    sf.write(path, long_speech(12), RATE)
    return path


@pytest.fixture(scope="module")
def parts(transcriber, twelve_minutes):
    return Parts([Lane("letters alone", transcriber.transcribe(twelve_minutes, "greedy"))])


def which(tab) -> str:
    return tab.locator(".ctc-lens .parts span").inner_text()


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def go(tab, name: str, number: int) -> None:
    tab.get_by_role("button", name=name).click()
    tab.locator(".ctc-lens .parts").get_by_text(f"part {number} of").wait_for()


def saved(tab, button: str) -> tuple[str, str]:
    with tab.expect_download() as download:
        tab.get_by_role("button", name=button, exact=True).click()
    return download.value.suggested_filename, download.value.path().read_text()


def test_a_long_recording_is_shown_part_by_part_with_the_times_of_the_whole(tab, twelve_minutes, parts):
    tab.set_default_timeout(PATIENCE_MS)
    tab.get_by_label("Letters alone").click()
    upload(tab, twelve_minutes)
    whole, (second, *_) = parts.lanes[0].reading, parts[1]
    cuts = parts.cuts_s
    assert len(parts) == 3 and max(b - a for a, b in zip(cuts, cuts[1:], strict=False)) <= LONGEST_S
    wait_to_hear(tab, whole.text)
    assert which(tab) == f"part 1 of 3, 0:00 to {clock(cuts[1])}"
    assert tab.get_by_role("button", name="Previous part").is_disabled()

    tab.get_by_role("button", name="Next part").focus()
    tab.keyboard.press("Enter")
    tab.locator(".ctc-lens .parts").get_by_text("part 2 of 3").wait_for()
    assert which(tab) == f"part 2 of 3, {clock(cuts[1])} to {clock(cuts[2])}"
    tab.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Next part'")
    words = second.reading.words
    assert words_of(tab)[:5] == [word.label for word in words[:5]]
    token = second.reading.tokens[0]
    assert explained(tab) == token.first
    details = tab.locator(".ctc-lens .details").inner_text()
    assert f"{token.start_s:.2f} s to {token.end_s:.2f} s" in details
    first_ms = round(1000 * (cuts[1] + token.first * second.reading.emission.frame_s))
    assert f"{first_ms} to {first_ms + 40} ms" in details
    tab.locator(".ctc-lens .word").first.click()
    tab.wait_for_function("window.plays.length === 1")
    assert tab.evaluate("window.plays[0][0]") == pytest.approx(words[0].start_s - cuts[1], abs=1e-4), (
        "its sound alone is there"
    )
    wait_to_hear(tab, whole.text)

    assert saved(tab, "CTM") == export_lanes(parts.lanes, "ctm")
    name, content = saved(tab, "JSON")
    assert json.loads(content)["text"] == whole.text and name == "transcript.spike.json"
    _, page = saved(tab, "Offline page")
    assert "(part 2 of 3)</title>" in page and len(page) < 20_000_000

    go(tab, "Next part", 3)
    assert tab.get_by_role("button", name="Next part").is_disabled()
    go(tab, "Previous part", 2)
    said = " ".join(word.label for word in words[:40])
    type_reference(tab, said)
    tab.wait_for_selector(".ctc-lens .title")
    assert which(tab).startswith("part 2 of 3")
    lines = [line.split() for line in saved(tab, "CTM")[1].splitlines() if not line.startswith(";;")]
    assert [line[4] for line in lines] == said.split()
    assert all(cuts[1] <= float(line[2]) < cuts[2] for line in lines)

    open_tab(tab, "Learn")
    tab.locator("#lesson").get_by_text("Frames and probabilities").wait_for()
    seconds = float(re.search(r"The model cuts these ([\d.]+) seconds", tab.locator("#lesson").inner_text())[1])
    assert 60 < seconds < 150, "a beginning"
    open_tab(tab, "Break it")
    tab.locator("#broken").get_by_text("Healthy: 1 utterance, nothing found.").wait_for()


def test_a_short_recording_has_no_parts(tab):
    tab.get_by_role("button", name="the floors were").click()
    tab.wait_for_selector(".ctc-lens .word")
    assert tab.locator(".ctc-lens .parts").count() == 0
