"""Every format is read back by other people's parsers: what they find is what was said, and when."""

import html
import json
import re
from dataclasses import replace
from itertools import groupby, pairwise
from types import SimpleNamespace

import numpy as np
import pysubs2
import pytest
import srt
import textgrid
import torch
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praatio

from asr_core.alignment import CONVENTIONS, SCORE, Span
from asr_core.emission import Emission
from asr_core.export import FORMATS, as_json, export
from asr_core.reference import align
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription

RATE = 16_000  # Hz
FRAME_S = 0.04
ALPHABET = Alphabet()
STRANGE = Alphabet(
    ("<pad>", " ", '"', '""', "<b>", "</b>", "&", "&amp;", "-->", "'", "\n", "é", "漢", "a b", "{\\i1}"), blank=0
)


def sound_of(duration_s: float, seed: int = 0) -> Sound:
    """Silence, and random features: no export looks at either, but for the warnings in JSON."""
    draw = np.random.default_rng(seed)
    samples = np.zeros(round(duration_s * RATE), np.float32)
    features = torch.from_numpy(draw.standard_normal((len(samples) // 160 + 1, 80)).astype(np.float32))
    return Sound(samples, RATE, features, 0.01)


def reading(
    runs: list[tuple[int, int]], alphabet: Alphabet = ALPHABET, convention: str = "spike", duration_s: float | None = None
) -> Transcription:
    """A random emission, read along `runs` of (token, frames)."""
    path = tuple(token for token, frames in runs for _ in range(frames))
    draw = np.random.default_rng(len(path))
    log_probs = torch.from_numpy(draw.standard_normal((len(path), len(alphabet))).astype(np.float32)).log_softmax(-1)
    sound = sound_of(len(path) * FRAME_S if duration_s is None else duration_s)
    return Transcription.of_path(path, Emission(log_probs, FRAME_S, alphabet), sound, convention)


def spoken(text: str, frames: int = 2, pause: int = 1) -> Transcription:
    """A letter of `frames` frames and a pause of blanks, one after another. A dot is a blank second."""
    blank = (ALPHABET.blank, pause)
    runs = [
        run
        for letter in text
        for run in (((blank[0], 25),) if letter == "." else ((ALPHABET.encode(letter)[0], frames), blank))
    ]
    return reading(runs)


@st.composite
def readings(draw, alphabet: Alphabet = ALPHABET):
    """Blanks and spaces are as common as they are in speech; a recording may end before its last frame, or after it."""
    letters = [index for index in range(len(alphabet)) if index != alphabet.blank]
    token = st.sampled_from([alphabet.blank, alphabet.labels.index(" ")]) | st.sampled_from(letters)
    runs = draw(st.lists(st.tuples(token, st.sampled_from([1, 1, 1, 2, 3, 20, 200])), min_size=1, max_size=40))
    frames = sum(count for _, count in runs)
    duration_s = frames * FRAME_S * draw(st.sampled_from([1.0, 1.0, 0.5, 1.3])) + draw(
        st.sampled_from([0.0, 0.0123, 0.0004375])
    )
    return reading(runs, alphabet, draw(st.sampled_from(sorted(CONVENTIONS))), duration_s)


both = readings() | readings(STRANGE)
EMPTY = reading([(ALPHABET.blank, 10)])


def in_one_column(label: str) -> str:
    return re.sub(r"\s+", "_", label)


def cues(transcription: Transcription, kind: str) -> list[tuple[int, int, str]]:
    """(start, end) in ms and text, on which two parsers of the format agree."""
    written = export(transcription, kind)
    if kind == "srt":
        subtitles = list(srt.parse(written))
        assert [subtitle.index for subtitle in subtitles] == list(range(1, len(subtitles) + 1))
        found = [
            (round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000), cue.content)
            for cue in subtitles
        ]
    else:
        captions = webvtt.from_string(written, strict=True).captions
        found = [
            (cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds(), html.unescape(cue.raw_text))
            for cue in captions
        ]
    events = pysubs2.SSAFile.from_string(written, format_=kind, keep_html_tags=True)
    second = [(event.start, event.end, event.text.replace("\\N", "\n")) for event in events]
    if kind == "vtt":
        second = [(start, end, html.unescape(text)) for start, end, text in second]
    assert second == found
    return found


def ctm(written: str) -> tuple[list[str], list[SimpleNamespace]]:
    """Comments and words, as sclite's manual describes the format."""
    lines = written.splitlines()
    comments = [line for line in lines if line.startswith(";;")]
    words = []
    for line in lines[len(comments) :]:
        recording, channel, start, duration, label, score = line.split()
        assert (recording, channel) == ("recording", "1")
        words.append(SimpleNamespace(start=float(start), duration=float(duration), label=label, score=float(score)))
    return comments, words


@pytest.fixture(scope="module")
def tiers(tmp_path_factory):
    """Reads a Transcription's TextGrid with praatio and textgrid, which agree: its end, (name, intervals) of each tier."""
    path = tmp_path_factory.mktemp("praat") / "grid.TextGrid"

    def read(transcription: Transcription) -> tuple[float, list[tuple[str, list[tuple[float, float, str]]]]]:
        path.write_text(export(transcription, "textgrid"), encoding="utf-8")
        ours = praatio.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
        assert ours.validate("error")
        grid = textgrid.TextGrid()  # refuses intervals that overlap
        grid.read(path, round_digits=9)
        assert (grid.minTime, ours.minTimestamp) == (0, 0)
        assert grid.maxTime == ours.maxTimestamp
        found = []
        for tier, name in zip(grid.tiers, ours.tierNames, strict=True):
            intervals = [(interval.minTime, interval.maxTime, interval.mark) for interval in tier.intervals]
            assert (tier.name, intervals) == (name, [tuple(entry) for entry in ours.getTier(name).entries])
            found.append((name, intervals))
        return grid.maxTime, found

    return read


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@settings(max_examples=50)
@given(transcription=both)
def test_captions_hold_every_word_once_and_follow_the_rules(kind, transcription):
    found = cues(transcription, kind)
    words = [in_one_column(word.label) for word in transcription.words]
    assert " ".join(text for _, _, text in found).split() == words
    for start, end, text in found:
        assert 1 <= end - start <= 6_000
        lines = text.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 or " " not in line for line in lines)
    for (_, end, _), (start, _, _) in pairwise(found):
        assert end <= start
    assert all(end <= max(transcription.duration_s * 1000 + 0.5, len(words)) for _, end, _ in found)


@settings(max_examples=50)
@given(readings())
def test_captions_begin_and_end_with_their_words_and_not_within_a_phrase(transcription):
    words = list(transcription.words)
    for start, end, text in cues(transcription, "srt"):
        inside, words = words[: len(text.split())], words[len(text.split()) :]
        crowded = inside[-1].start_s >= transcription.duration_s - 0.001 * len(transcription.words)  # words past the end
        if not crowded:
            assert start == pytest.approx(inside[0].start_s * 1000, abs=0.6)
            assert end == pytest.approx(min(inside[-1].end_s, inside[0].start_s + 6) * 1000, abs=1.1)
            for before, after in pairwise(inside):
                assert after.start_s - before.end_s < 0.7 + 0.001
        if words and words[0].start_s - inside[-1].end_s < 0.7 - 0.001:  # there was a reason for a new caption
            too_long = words[0].end_s - inside[0].start_s > 6 - 0.001
            assert too_long or crowded or len(text.replace("\n", " ")) + 1 + len(words[0].label) > 42


def test_captions_worked_by_hand():
    hello = spoken("hello world")  # 11 letters of 0.12 s
    assert cues(hello, "srt") == [(0, 1_280, "hello world")]
    paused = spoken("hello .world")
    assert cues(paused, "vtt") == [(0, 560, "hello"), (1_720, 2_280, "world")]
    sentence = spoken("once upon a time there was a machine that wrote captions for the people who should read", 1, 0)
    first, second = cues(sentence, "srt")
    assert first == (0, 3_280, "once upon a time there was a machine that\nwrote captions for the people who should")
    assert second == (3_320, 3_480, "read")


def test_a_caption_ends_before_the_word_that_would_outlast_six_seconds():
    slow = spoken("one two six ten four five nine", frames=3, pause=3)  # 0.24 s a letter
    assert cues(slow, "srt") == [(0, 5_880, "one two six ten four five"), (6_240, 7_080, "nine")]


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ("ab " * 14 + "ab", ["ab " * 13 + "ab\nab"]),  # 41 characters, and a 15th word
        ("abc " + "ab " * 12 + "ab a", ["abc " + "ab " * 12 + "ab\na"]),  # 42 characters
        ("abcd " + "ab " * 12 + "ab", ["abcd " + "ab " * 11 + "ab\nab"]),  # 43
        ("ab" * 25 + " a", ["ab" * 25 + "\na"]),  # a word longer than a line is not cut
    ],
)
def test_lines_hold_42_characters_and_whole_words(text, captions):
    assert [caption for _, _, caption in cues(spoken(text, 1, 0), "vtt")] == captions


def test_a_hyphen_is_no_place_to_part_a_word():
    alphabet = Alphabet(("a", "-", " ", "_"), blank=3)
    path = [(0, 1)] * 1 + [(2, 1)] + [(0, 1), (1, 1)] * 21  # "a", and a word of 42 characters
    assert [text for _, _, text in cues(reading(path, alphabet), "srt")] == ["a\n" + "a-" * 21]


@pytest.mark.parametrize(("gap", "captions"), [(17, 1), (18, 2)])  # 0.68 s and 0.72 s
def test_a_pause_begins_a_new_caption(gap, captions):
    transcription = reading([(2, 1), (1, 1), (ALPHABET.blank, gap - 1), (3, 1)])
    assert len(cues(transcription, "srt")) == captions


def test_a_pause_of_exactly_700_ms_begins_a_new_caption_whatever_floats_make_of_it():
    for offset in range(0, 400, 7):  # 3.3 - 2.6 < 0.7, and many more
        path = (28,) * offset + (2, 1) + (28,) * 69 + (3,)
        log_probs = torch.zeros(len(path), 29).log_softmax(-1)
        emission = Emission(log_probs, 0.01, ALPHABET)
        transcription = Transcription.of_path(path, emission, sound_of(len(path) * 0.01))
        assert transcription.words[1].start_s - transcription.words[0].end_s == pytest.approx(0.7)
        assert [text for _, _, text in cues(transcription, "vtt")] == ["a", "b"]


def test_a_caption_never_outlasts_six_seconds_even_when_its_word_does():
    transcription = reading([(2, 1), (ALPHABET.blank, 250), (3, 1)])  # one word of 10 s
    assert cues(transcription, "srt") == [(0, 6_000, "ab")]


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
def test_textgrid_tiles_the_recording_in_words_and_letters(tiers, transcription):
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


def test_textgrid_of_a_double_letter_and_a_space(tiers):
    _, [words, letters] = tiers(spoken("aa b", frames=2, pause=1))
    assert words == ("words (spike)", [(0, 0.2, "aa"), (0.2, 0.36, ""), (0.36, 0.44, "b"), (0.44, 0.48, "")])
    assert letters[1] == [
        (0, 0.08, "a"), (0.08, 0.12, ""), (0.12, 0.2, "a"), (0.2, 0.36, ""), (0.36, 0.44, "b"), (0.44, 0.48, ""),
    ]  # fmt: skip


def test_spans_that_touch_overlap_or_have_no_length_are_told_apart(tiers):
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


def test_letters_past_the_last_sample_keep_an_interval_each(tiers):
    transcription = reading([(2, 1), (1, 1), (3, 1), (4, 1), (5, 1)], duration_s=0.05)  # 0.2 s of frames
    end, [_, (_, letters)] = tiers(transcription)
    assert end == 0.05
    assert [label for _, _, label in letters if label] == ["a", "b", "c", "d"]
    assert [round(start * 1e6) for start, _, label in letters if label] == [0, 49_997, 49_998, 49_999]


@settings(max_examples=25)
@given(both)
def test_json_holds_what_as_dict_does(transcription):
    written = export(transcription, "json")
    assert written == as_json(transcription)
    assert json.loads(written) == transcription.as_dict()


def test_ctm_names_the_recording_in_one_column():
    transcription = spoken("a b")
    named = replace(transcription, sound=replace(transcription.sound, name="my first\trecording.wav"))
    assert [line.split()[0] for line in export(named, "ctm").splitlines()[2:]] == ["my_first_recording.wav"] * 2


def test_json_holds_the_cost_of_each_letter_of_a_reference():
    heard = spoken("cat")
    reference = align(heard, "cut")
    read = json.loads(as_json(reference.aligned, reference=reference))
    assert read["reference"] == reference.summary()
    assert [token["label"] for token in read["tokens"]] == list("cut")
    assert [token["cost"] for token in read["tokens"]] == pytest.approx(reference.costs, abs=6e-5)


@settings(max_examples=25)
@given(both)
def test_json_holds_the_emission_on_request(transcription):
    read = json.loads(as_json(transcription, with_emission=True))
    emission = read.pop("emission")
    assert read == transcription.as_dict()
    assert as_json(transcription, with_emission=True) == export(transcription, "json-emission")
    assert emission["labels"] == list(transcription.emission.alphabet.labels)
    assert emission["blank"] == transcription.emission.alphabet.blank
    assert emission["frame_s"] == FRAME_S
    assert np.allclose(emission["log_probs"], transcription.emission.log_probs, atol=5.1e-5)
    assert all(value == round(value, 4) for frame in emission["log_probs"] for value in frame)


def test_a_probability_of_zero_is_null_since_json_has_no_infinity():
    emission = Emission(torch.tensor([[0.0, 1.0], [0.5, 0.5]]).log(), FRAME_S, Alphabet(("a", "_"), blank=1))
    transcription = Transcription.of_path((1, 0), emission, sound_of(0.08))
    assert json.loads(as_json(transcription, True))["emission"]["log_probs"] == [[None, 0.0], [-0.6931, -0.6931]]


@settings(max_examples=25)
@given(both)
def test_text_is_the_text(transcription):
    assert export(transcription, "text") == transcription.text + "\n"


def test_vtt_escapes_html_and_says_what_its_times_are():
    alphabet = Alphabet(("<b>", "&", "-->", " ", "_"), blank=4)
    written = export(reading([(0, 2), (1, 2), (3, 1), (2, 3)], alphabet, "energy"), "vtt")
    note, cue = written.split("\n\n", 2)[1:]
    assert note.splitlines() == ["NOTE", f"score: {SCORE}", f"spans: energy: {CONVENTIONS['energy']}"]
    timing, text = cue.splitlines()
    assert text == "&lt;b&gt;&amp; --&gt;"
    assert written.count("-->") == timing.count("-->") == 1


def test_times_go_on_after_an_hour(tiers):
    runs = [(2, 1), (1, 1), (ALPHABET.blank, 100 * 60 * 25), (3, 3), (ALPHABET.blank, 2)]  # 100 minutes of silence
    path = tuple(token for token, frames in runs for _ in range(frames))
    log_probs = torch.zeros(1, 29).log_softmax(-1).expand(len(path), 29)
    samples, features = np.zeros(round(len(path) * FRAME_S * 100), np.float32), torch.zeros(len(path), 80)
    transcription = Transcription.of_path(
        path, Emission(log_probs, FRAME_S, ALPHABET), Sound(samples, 100, features, FRAME_S)
    )
    assert "01:40:00,080 --> 01:40:00,200\nb" in export(transcription, "srt")
    assert "01:40:00.080 --> 01:40:00.200\nb" in export(transcription, "vtt")
    for kind in ("srt", "vtt"):
        assert cues(transcription, kind) == [(0, 40, "a"), (6_000_080, 6_000_200, "b")]
    assert ctm(export(transcription, "ctm"))[1][1].start == 6_000.08
    end, [(_, words), _] = tiers(transcription)
    assert end == 6_000.28
    assert words[2:] == [(6_000.08, 6_000.2, "b"), (6_000.2, 6_000.28, "")]


def test_nothing_said_is_a_valid_file_in_every_format(tiers):
    assert cues(EMPTY, "srt") == cues(EMPTY, "vtt") == []
    comments, words = ctm(export(EMPTY, "ctm"))
    assert len(comments) == 2 and words == []
    assert tiers(EMPTY) == (0.4, [("words (spike)", [(0, 0.4, "")]), ("letters (spike)", [(0, 0.4, "")])])
    assert json.loads(export(EMPTY, "json"))["words"] == []
    assert export(EMPTY, "text") == "\n"


def test_only_spaces_are_no_words_and_no_letters(tiers):
    spaces = reading([(1, 3), (ALPHABET.blank, 2), (1, 5)])
    assert cues(spaces, "vtt") == []
    assert [intervals for _, intervals in tiers(spaces)[1]] == [[(0, 0.4, "")]] * 2


def test_the_formats_are_those_that_were_promised_and_cannot_be_changed():
    assert {name: suffix for name, (suffix, _) in FORMATS.items()} == {
        "text": ".txt", "srt": ".srt", "vtt": ".vtt", "ctm": ".ctm", "textgrid": ".TextGrid", "json": ".json",
        "json-emission": ".json",
    }  # fmt: skip
    assert all(export(EMPTY, name) == write(EMPTY) for name, (_, write) in FORMATS.items())
    with pytest.raises(TypeError):
        FORMATS["doc"] = FORMATS["text"]


def test_an_unknown_format_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no export format 'SRT'.*text, srt, vtt, ctm, textgrid, json"):
        export(EMPTY, "SRT")
