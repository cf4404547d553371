"""SRT and VTT captions: every word once, in lines and at times that people can read."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from parsers import cues, in_one_column
from readings import ALPHABET, both, reading, readings, sound_of, spoken

from asr_core.alignment import CONVENTIONS, SCORE
from asr_core.emission import Emission
from asr_core.export import export
from asr_core.text import Alphabet
from asr_core.transcription import Transcription


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


def test_vtt_escapes_html_and_says_what_its_times_are():
    alphabet = Alphabet(("<b>", "&", "-->", " ", "_"), blank=4)
    written = export(reading([(0, 2), (1, 2), (3, 1), (2, 3)], alphabet, "energy"), "vtt")
    note, cue = written.split("\n\n", 2)[1:]
    assert note.splitlines() == ["NOTE", f"score: {SCORE}", f"spans: energy: {CONVENTIONS['energy']}"]
    timing, text = cue.splitlines()
    assert text == "&lt;b&gt;&amp; --&gt;"
    assert written.count("-->") == timing.count("-->") == 1
