"""A long result cut into parts: nothing lost, no word cut, the times of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from readings import ALPHABET, reading

from asr_core.export import export_lanes
from asr_core.reference import align
from asr_core.transcription import Transcription
from asr_core.viewer import parts as parts_module
from asr_core.viewer.parts import Parts, beginning, cuts_s
from asr_core.viewer.payload import Lane, heard_in, payload, reference_lanes

A, SPACE, BLANK = *ALPHABET.encode("a "), ALPHABET.blank
LONGEST_S = 8.0


def talk(pauses: list[int]) -> Transcription:
    """Words of five frames, and after each a space among so many blanks."""
    runs = []
    for pause in pauses:
        runs += [(A, 2), (BLANK, 1), (A, 2), (BLANK, pause), (SPACE, 1), (BLANK, pause)]
    return reading(runs)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "LONGEST_S", LONGEST_S)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.lists(st.integers(1, 40), max_size=60))
def test_parts_are_short_cut_no_word_and_lose_nothing(pauses, others):
    readings = [talk(pauses)]
    if others:  # a second reading of the same sound, which has its words elsewhere
        path = (talk(others).path + (BLANK,) * len(readings[0].path))[: len(readings[0].path)]
        readings.append(Transcription.of_path(path, readings[0].emission, readings[0].sound))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_module, "LONGEST_S", LONGEST_S)
        parts = Parts([Lane(str(number), each) for number, each in enumerate(readings)])
    assert max(np.diff(parts.cuts_s)) <= LONGEST_S + 1e-9
    assert all(np.diff(parts.cuts_s) > 0)
    for number, whole in enumerate(readings):
        shown = [parts[index][number].reading for index in range(len(parts))]
        assert sum((part.path for part in shown), ()) == whole.path
        assert sum(part.duration_s for part in shown) == pytest.approx(whole.duration_s)
        if len(readings) == 1:  # two may leave no pause that both have
            words = [word for part in shown for word in part.words]
            assert [word.label for word in words] == [word.label for word in whole.words]
            assert [word.start_s for word in words] == pytest.approx([word.start_s for word in whole.words])


def test_the_longest_pause_in_reach_is_taken():
    heard = talk([3] * 20 + [20] + [3] * 20)  # the long pause begins about 9.6 s
    cuts = cuts_s([heard], 12.0)
    pause = heard.words[20], heard.words[21]
    assert cuts[1] == pytest.approx((pause[0].end_s + pause[1].start_s) / 2, abs=heard.emission.frame_s)


def test_what_is_short_is_left_as_it_is():
    lanes = [Lane("heard", talk([5, 5]))]
    parts = Parts(lanes)
    assert len(parts) == 1 and parts[0][0] is lanes[0]
    assert beginning(lanes[0].reading, LONGEST_S) is lanes[0].reading


def test_a_beginning_ends_with_a_word_within_the_time():
    heard = talk([10] * 30)
    start = beginning(heard, LONGEST_S)
    assert LONGEST_S / 2 < start.duration_s <= LONGEST_S and start.sound.start_s == 0
    assert heard.text.startswith(start.text) and start.words == heard.words[: len(start.words)]


def test_lanes_of_one_emission_still_are_and_the_view_is_told_which_part_it_is():
    heard = talk([10] * 30)
    parts = Parts([Lane("one", heard), Lane("other", Transcription.of_path(heard.path, heard.emission, heard.sound))])
    lanes = parts[1]
    assert lanes[0].reading.emission is lanes[1].reading.emission and heard_in(lanes) is lanes[1].reading
    sent = payload(*lanes)
    assert sent["part"] == {"number": 2, "count": len(parts)} and len(sent["emissions"]) == 1
    assert (sent["start_s"], sent["duration_s"]) == (parts.cuts_s[1], pytest.approx(parts.cuts_s[2] - parts.cuts_s[1]))
    whole = payload(*parts.lanes)
    assert (whole["start_s"], whole["part"]) == (0.0, {"number": 1, "count": 1})


def test_what_is_typed_for_a_part_is_written_with_the_times_of_the_whole():
    part = Parts([Lane("heard", talk([10] * 30))])[2][0].reading
    lanes = reference_lanes(align(part, "aa aa"))
    assert lanes[1].reading.sound.part == part.sound.part
    _, ctm = export_lanes(lanes, "ctm")
    times = [float(line.split()[2]) for line in ctm.splitlines() if not line.startswith(";;")]
    assert times == [pytest.approx(word.start_s, abs=1e-3) for word in lanes[1].reading.words]
    assert part.sound.start_s <= min(times) and max(times) < part.sound.end_s
    _, grid = export_lanes(lanes, "textgrid")
    assert f"xmax = {part.sound.end_s:.6f}" in grid
    name, page = export_lanes(lanes, "html")
    assert "(part 3 of " in page and name == "reference.html"
