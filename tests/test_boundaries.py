"""Words heard against words of a track: by hand, what must hold of any two, and the files that hold both."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praatio
from readings import EMPTY, both, spoken

from asr_core.boundaries import THRESHOLD_MS, compare
from asr_core.export import export
from asr_core.merge import differences, export_merge, merge
from asr_core.reference import align
from asr_core.tracks import TimedWord, Track, load
from asr_core.viewer import parts as parts_module
from asr_core.viewer.parts import Parts, beside
from asr_core.viewer.payload import Lane, reference_lanes

HEARD = spoken("the cat. sat on the mat")
THE, CAT, SAT, ON, THE_2, MAT = [(word.label, word.start_s, word.end_s) for word in HEARD.words]


def track(*words: tuple[str, float, float], name: str = "hand.ctm") -> Track:
    return Track(name, tuple(TimedWord(*word) for word in words))


def rows(heard, *words) -> list[tuple]:
    found = compare(heard, track(*words)).rows
    return [(row.text, row.reference.label if row.reference else None, row.kind, row.start_ms, row.end_ms) for row in found]


def test_distances_are_heard_minus_reference_in_milliseconds():
    found = rows(HEARD, ("The", 0.01, 0.30), ("cat,", 0.5, 0.79), SAT, ON, THE_2, ("mat", 3.0, 3.601))
    assert found[:2] == [("the", "The", "same", -10, 20), ("cat", "cat,", "same", -20, 10)]
    assert found[2:] == [(w[0], w[0], "same", 0, 0) for w in (SAT, ON, THE_2)] + [("mat", "mat", "same", 280, -1)]
    comparison = compare(HEARD, track(("The", 0.01, 0.30), ("cat,", 0.5, 0.79), SAT, ON, THE_2, ("mat", 3.0, 3.601)))
    assert (comparison.median_start_ms, comparison.median_end_ms) == (5, 0.5)
    assert [row.text for row in comparison.disagreements] == ["mat"]


def test_an_edge_disagrees_beyond_the_threshold_and_not_at_it():
    at, beyond = (compare(HEARD, track(("the", 0.0, 0.32 + ms / 1000))).rows[0] for ms in (THRESHOLD_MS, THRESHOLD_MS + 1))
    assert (at.end_ms, at.disagrees) == (-50, False) and (beyond.end_ms, beyond.disagrees) == (-51, True)


def test_a_word_that_is_not_heard_and_one_too_many():
    assert rows(HEARD, THE, ("big", 0.33, 0.46), CAT, SAT, THE_2, MAT) == [
        ("the", "the", "same", 0, 0), ("", "big", "missing", None, None), ("cat", "cat", "same", 0, 0),
        ("sat", "sat", "same", 0, 0), ("on", None, "added", None, None), ("the", "the", "same", 0, 0),
        ("mat", "mat", "same", 0, 0),
    ]  # fmt: skip


def test_other_words_belong_together_where_they_are_spoken_at_the_same_time():
    """And not merely because both lack a partner."""
    found = rows(HEARD, THE, ("dog", 0.44, 0.84), ("zebra", 1.2, 1.6), SAT, ("onto", 2.4, 3.2), MAT)
    assert found[1:3] == [("cat", "dog", "different", 40, -40), ("", "zebra", "missing", None, None)]
    assert found[4] == ("on the", "onto", "different", 40, -80), "two words that were one"
    assert rows(spoken("cat"), ("dog", 5.0, 6.0)) == [("cat", None, "added", None, None), ("", "dog", "missing", None, None)]


def test_a_caption_is_compared_by_its_outer_edges():
    assert rows(HEARD, ("The cat -- sat,", 0.1, 2.3), ("on the mat.", 2.4, 3.6)) == [
        ("the cat sat", "The cat -- sat,", "same", -100, -20), ("on the mat", "on the mat.", "same", 40, 0),
    ]  # fmt: skip
    assert rows(HEARD, ("The dog sat", 0.1, 2.3), ("on mat", 2.4, 3.6)) == [
        ("the cat sat", "The dog sat", "different", -100, -20), ("on the mat", "on mat", "different", 40, 0),
    ]  # fmt: skip


def test_case_dashes_and_punctuation_make_no_difference_and_letters_do():
    found = rows(HEARD, ("“THE", 0, 0.3), ("Cat’s", 0.4, 0.8), ("Sat...", 1.9, 2.3), ("on", 2.4, 2.6))
    assert [kind for _, _, kind, _, _ in found] == [
        "same", "different", "same", "same", "added", "added",
    ]  # fmt: skip
    assert rows(spoken("well known"), ("well-known", 0, 0.8))[0][2] == "same"


def test_nothing_heard_and_nothing_in_the_part():
    assert rows(EMPTY, CAT) == [("", "cat", "missing", None, None)]
    assert [row[2] for row in rows(HEARD)] == ["added"] * 6
    empty = compare(EMPTY, track())
    assert (empty.rows, empty.median_start_ms, empty.median_end_ms) == ((), None, None)


LABELS = st.sampled_from(["a", "A!", "b", "a b", "b a a", "--", "é", "\ufffd", "a-b"]) | st.text(
    st.characters(codec="utf-8"), max_size=5
)
TIMES = st.floats(0, 40, allow_nan=False).map(lambda time_s: round(time_s, 3))
TRACKS = st.lists(st.tuples(LABELS, TIMES, TIMES), max_size=12).map(
    lambda words: track(
        *sorted(((" ".join(w.split()) or "x", min(a, b), max(a, b)) for w, a, b in words), key=lambda w: w[1:])
    )
)


@settings(max_examples=200)
@given(both, TRACKS)
def test_every_word_is_in_one_row_in_its_order(heard, reference):
    found = compare(heard, reference).rows
    assert [word for row in found for word in row.heard] == list(heard.words)
    assert [row.reference for row in found if row.reference] == list(reference.words)
    for row in found:
        assert row.heard or row.reference
        assert (row.start_ms is None) == (row.end_ms is None) == (row.kind in ("missing", "added"))
        assert len(row.heard) <= 1 or row.reference


@settings(max_examples=50)
@given(both, st.integers(0, 900))
def test_a_track_of_what_was_heard_is_the_same_and_a_later_one_is_later_by_as_much(heard, late_ms):
    said = [word for word in heard.words if any(letter.isalnum() for letter in word.label)]
    heard = replace(heard, words=tuple(said))
    later = [(word.label, word.start_s + late_ms / 1000, word.end_s + late_ms / 1000) for word in said]
    found = compare(heard, track(*later))
    assert [(row.kind, row.start_ms, row.end_ms) for row in found.rows] == [("same", -late_ms, -late_ms)] * len(said)
    assert len(found.disagreements) == (len(said) if late_ms > THRESHOLD_MS else 0)
    assert found.median_start_ms == (late_ms if said else None)


@settings(max_examples=30)
@given(both, TRACKS)
def test_how_spans_are_widened_moves_edges_and_pairs_nothing_else(heard, reference):
    pairs = [
        [(row.text, row.reference, row.kind) for row in compare(heard.with_convention(name), reference).rows]
        for name in ("spike", "boundary")
    ]
    assert pairs[0] == pairs[1]


def test_the_documented_example_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parent.parent / "docs" / "reference_times.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(from asr_core\.boundaries .*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    Path("talk.TextGrid").write_text(export(HEARD, "textgrid"))
    exec(compile(example, "reference_times.md", "exec"), {"transcription": HEARD})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("same cat TimedWord(label='cat'") and printed[-1] == "20.0 20.0"  # half a frame each


# Files of both


@settings(max_examples=30)
@given(both, TRACKS)
def test_the_merge_is_a_textgrid_with_the_words_of_both(tmp_path_factory, heard, reference):
    path = tmp_path_factory.mktemp("merge") / "merge.TextGrid"
    path.write_text(merge(compare(heard, replace(reference, name='my "own".ctm'))), encoding="utf-8")
    grid = praatio.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
    assert grid.tierNames == (f"words ({heard.convention})", 'my "own".ctm')
    assert len(grid.getTier(grid.tierNames[0]).entries) == len(heard.words)
    assert [entry.label for entry in grid.getTier('my "own".ctm').entries] == [word.label for word in reference.words]


def test_the_table_of_differences_has_a_line_a_row():
    comparison = compare(HEARD, track(("the", 0.1, 0.3), ("big cat", 0.4, 0.8)))
    lines = list(csv.DictReader(io.StringIO(differences(comparison)), delimiter="\t"))
    assert [(line["heard"], line["reference"], line["kind"]) for line in lines][:3] == [
        ("the", "the", "same"), ("cat", "big cat", "different"), ("sat", "", "added"),
    ]  # fmt: skip
    first = {name: lines[0][name] for name in list(lines[0])[3:]}
    assert list(first.values()) == ["-100", "20", "0.000", "0.320", "0.100", "0.300"]
    assert [lines[2][name] for name in list(lines[2])[3:]] == ["", "", "1.960", "2.280", "", ""]


def test_what_was_typed_is_merged_in_place_of_what_was_heard():
    lanes = beside(reference_lanes(align(HEARD, "the hat sat")), track(THE, ("hat", 0.48, 0.8), SAT))
    assert lanes[1].track is None
    name, content = export_merge(lanes, "differences", "boundary")
    assert name == "differences.boundary.tsv"
    assert [line.split("\t")[0] for line in content.splitlines()[1:]] == ["the", "hat", "sat"]
    assert export_merge(lanes, "merge")[0] == "merge.spike.TextGrid"


def test_parts_of_a_long_recording_have_their_own_part_of_the_track(monkeypatch, tmp_path):
    monkeypatch.setattr(parts_module, "LONGEST_S", 2.0)
    words = [{"word": label, "start": start_s, "end": end_s} for label, start_s, end_s in (THE, CAT, SAT, ON, THE_2, MAT)]
    (tmp_path / "all.json").write_text(json.dumps(words))
    whole = load(tmp_path / "all.json", HEARD.sound)
    parts = Parts(beside([Lane("heard", HEARD)], whole))
    assert len(parts) > 1
    shown = [parts[index][0] for index in range(len(parts))]
    assert [word for lane in shown for word in lane.track.words] == list(whole.words)
    for lane in shown:
        assert compare(lane.reading, lane.track).disagreements == ()
    assert Parts(beside(parts.lanes, None))[0][0].track is None
