"""The numbers of the lessons, against every path of a tiny emission, and against the shipped model on an example."""

import math
import re
from itertools import groupby, product

import pytest
import torch
from synthetic import loud_sound

from asr_core import DEFAULT_CHECKPOINT, Alphabet, Emission, Transcriber, Transcription
from asr_core.data.utterances import read_manifest
from asr_core.decoding import greedy_path
from asr_core.lessons import LESSONS, Heard, LessonError, doubles, merge_and_drop, never_negative, sum_over_paths

ALPHABET = Alphabet(("a", "b", " ", "<blank>"), 3)


def reading(*best: str, sure: float = 3.0, seed: int = 0) -> Transcription:
    """An emission whose best tokens are these labels ("." the blank), with noise below them."""
    tokens = [3 if label == "." else ALPHABET.labels.index(label) for label in best]
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(tokens), 4, generator=draw)
    scores[torch.arange(len(tokens)), torch.tensor(tokens)] += sure
    emission = Emission(scores.log_softmax(-1), 0.04, ALPHABET)
    return Transcription.of_path(greedy_path(emission), emission, loud_sound(len(tokens) * 0.04))


def every_path(heard: Heard) -> list[float]:
    """The probability of each path that collapses to the text."""
    probabilities = heard.emission.log_probs.double().exp()
    found = []
    for path in product(range(4), repeat=heard.frames):
        if [token for token, _ in groupby(path) if token != 3] == heard.tokens:
            found.append(math.prod(float(probabilities[frame, token]) for frame, token in enumerate(path)))
    return found


@pytest.mark.parametrize("best", ["a.b...b", "aab.a", "bb.b.a", ".a.a.a", "a b", "......a"])
def test_paths_and_probabilities_are_those_of_all_paths_written_out(best):
    heard = Heard(reading(*best, sure=1.0))
    chances = every_path(heard)
    assert heard.paths == len(chances)
    assert math.exp(-heard.path_cost) == pytest.approx(max(chances), rel=1e-5)
    assert heard.loss(heard.emission.log_probs) == pytest.approx(-math.log(sum(chances)), rel=1e-5)
    told = " ".join(sum_over_paths(heard).sentences)
    assert f"= {len(chances):,} paths" in told
    assert f"{sum(chances) / max(chances):.1f} times as much" in told
    assert f"{-math.log(sum(chances)):.2f} nats" in told


def test_merges_and_blanks_are_counted():
    lesson = merge_and_drop(Heard(reading(*"..aaa.ab.")))
    assert "Of 9 frames, 2 repeats are merged and 4 blanks dropped: 3 tokens stay." in lesson.sentences
    assert "Frames 3 to 5 all name “a”" in lesson.sentences[0] and lesson.focus == (2, 4)
    assert "nothing to merge" in merge_and_drop(Heard(reading(*"a.b"))).sentences[0]


def test_a_double_letter_is_found_with_its_blanks():
    lesson = doubles(Heard(reading(*"b.aa..ab")))
    assert lesson.focus == (2, 6)
    assert "In “baab”" in lesson.sentences[0] and "ends in frame 4, the other begins in frame 7" in lesson.sentences[0]
    assert lesson.sentences[1].startswith("The 2 blanks between them keep them apart")
    assert "frame 5" in lesson.question


def test_words_that_end_and_begin_alike_hold_no_double_letter():
    lesson = doubles(Heard(reading(*"ba aab")))
    assert lesson.sentences[0].startswith("No letter is doubled")
    assert "From frame 4 on, 2 frames name “a”" in lesson.sentences[1] and lesson.focus == (3, 4)


def test_the_negative_loss_is_torchs_on_probabilities():
    heard = Heard(reading(*"a.b...b"))
    probabilities = heard.emission.log_probs.double().exp()
    total = 0.0
    for path in product(range(4), repeat=heard.frames):
        if [token for token, _ in groupby(path) if token != 3] == heard.tokens:
            total += math.exp(sum(float(probabilities[frame, token]) for frame, token in enumerate(path)))
    told = never_negative(heard).sentences[-1]
    assert f"It then says −{math.log(total):.2f} nats, which no probability has." in told


def test_nothing_heard_or_too_much_is_a_sentence():
    with pytest.raises(LessonError, match="heard no letters"):
        Heard(reading(*"....."))
    with pytest.raises(LessonError, match="heard no letters"):
        Heard(reading(*". .. "))
    with pytest.raises(LessonError, match="124 s long; the lessons take 120 s"):
        Heard(reading(*"a.b." * 775))


@pytest.mark.parametrize("frames", [3, 3_000])
def test_lessons_hold_from_a_syllable_to_two_minutes(frames):
    heard = Heard(reading(*("a.b" * (frames // 3))))
    for number, lesson in enumerate(map(lambda each: each(heard), LESSONS), 1):
        assert 2 <= len(lesson.sentences) <= 5, number
        first, last = lesson.focus
        assert 0 <= first <= last < len(heard.path)
        assert not re.search(r"\b(nan|inf)\b", " ".join(lesson.sentences))


def test_every_frame_that_is_talked_about_is_in_the_recording():
    transcriber = Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)
    from pathlib import Path

    for example in read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv"):
        heard = Heard(transcriber.transcribe(example.path))
        for make in LESSONS:
            lesson = make(heard)
            numbers = re.findall(r"[Ff]rames? (\d+)(?: to (\d+))?", " ".join([*lesson.sentences, lesson.question]))
            assert all(1 <= int(number) <= heard.frames for pair in numbers for number in pair if number)
            assert lesson.title and lesson.question
