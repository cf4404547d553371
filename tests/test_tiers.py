"""CTM and TextGrid: every word and letter where it was said."""

from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from parsers import ctm, cues, in_one_column, tiers
from readings import EMPTY, both, reading, spoken

from asr_core.alignment import CONVENTIONS, SCORE, Span
from asr_core.export import export


@settings(max_examples=50)
@given(both)
def test_ctm_has_each_words_time_and_score_and_says_what_they_are(transcription):
    comments, words = ctm(export(transcription, "ctm"))
    assert any(SCORE in comment for comment in comments)
    assert any(f"{transcription.convention}: {CONVENTIONS[transcription.convention]}" in comment for comment in comments)
    assert [word.label for word in words] == [in_one_column(word.label) for word in transcription.words]
    late = transcription.duration_s - 0.001 * len(transcription.words)
    for written, word in zip(words, transcription.words, strict=True):
        assert written.score == pytest.approx(word.score, abs=6e-5)
        assert written.duration >= 0.001
        if word.start_s < late:
            assert written.start == pytest.approx(word.start_s, abs=6e-4)
            assert written.start + written.duration == pytest.approx(max(word.end_s, word.start_s + 0.001), abs=1.1e-3)
    for one, other in pairwise(words):
        assert one.start + one.duration <= other.start + 1e-9


@settings(max_examples=50)
@given(both)
def test_textgrid_tiles_the_recording_in_words_and_letters(transcription):
    end, found = tiers(transcription)
    assert end == pytest.approx(transcription.duration_s, abs=6e-7)
    names = [f"words ({transcription.convention})", f"letters ({transcription.convention})"]
    assert [name for name, _ in found] == names
    letters = [token for token in transcription.tokens if token.label != " "]
    for (_, intervals), spans in zip(found, (transcription.words, letters), strict=True):
        assert intervals[0][0] == 0 and intervals[-1][1] == end
        assert all(start < stop for start, stop, _ in intervals)
        assert all(one[1] == other[0] for one, other in pairwise(intervals))  # exactly
        labelled = [interval for interval in intervals if interval[2]]
        assert [label for _, _, label in labelled] == [in_one_column(span.label) for span in spans]
        for (start, stop, _), span in zip(labelled, spans, strict=True):
            slack = 1e-6 * (len(spans) + 1)  # the spans past the end share the last microseconds
            assert start == pytest.approx(span.start_s, abs=slack)
            assert stop == pytest.approx(span.end_s, abs=slack)
        unlabelled = [key for key, _ in groupby(intervals, key=lambda interval: interval[2] == "")]
        assert unlabelled.count(True) == sum(not label for _, _, label in intervals)  # a gap is one interval


def test_textgrid_of_a_double_letter_and_a_space():
    _, [words, letters] = tiers(spoken("aa b", frames=2, pause=1))
    assert words == ("words (spike)", [(0, 0.2, "aa"), (0.2, 0.36, ""), (0.36, 0.44, "b"), (0.44, 0.48, "")])
    assert letters[1] == [
        (0, 0.08, "a"), (0.08, 0.12, ""), (0.12, 0.2, "a"), (0.2, 0.36, ""), (0.36, 0.44, "b"), (0.44, 0.48, ""),
    ]  # fmt: skip


def test_spans_that_touch_overlap_or_have_no_length_are_told_apart():
    """As no convention makes them; Praat refuses a file that has them."""
    times = [(0.0, 0.0), (0.0, 0.0), (0.1, 0.3), (0.2, 0.2), (0.25, 0.4), (0.4, 0.4)]
    spans = tuple(Span(label, 0, 0, *seconds, 0.5) for label, seconds in zip("abcdef", times, strict=True))
    transcription = replace(EMPTY, words=spans, tokens=spans)
    end, [(_, words), _] = tiers(transcription)
    assert [label for _, _, label in words if label] == list("abcdef")
    assert all(start < stop for start, stop, _ in words) and words[-1][1] == end == 0.4
    assert [(start, stop) for start, stop, _ in words[:2]] == [(0, 0.000_001), (0.000_001, 0.000_002)]
    assert cues(transcription, "vtt") == [(0, 400, "a b c d e f")]
    written = [(word.start, word.duration) for word in ctm(export(transcription, "ctm"))[1]]
    assert written == [(0, 0.001), (0.001, 0.001), (0.1, 0.2), (0.3, 0.001), (0.301, 0.098), (0.399, 0.001)]


def test_letters_past_the_last_sample_keep_an_interval_each():
    transcription = reading([(2, 1), (1, 1), (3, 1), (4, 1), (5, 1)], duration_s=0.05)  # 0.2 s of frames
    end, [_, (_, letters)] = tiers(transcription)
    assert end == 0.05
    assert [label for _, _, label in letters if label] == ["a", "b", "c", "d"]
    assert [round(start * 1e6) for start, _, label in letters if label] == [0, 49_997, 49_998, 49_999]


def test_ctm_names_the_recording_in_one_column():
    transcription = spoken("a b")
    named = replace(transcription, sound=replace(transcription.sound, name="my first\trecording.wav"))
    assert [line.split()[0] for line in export(named, "ctm").splitlines()[2:]] == ["my_first_recording.wav"] * 2
