"""JSON and text, and what holds of every format: what other people's parsers find is what was said, and when."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from parsers import ctm, cues, tiers
from readings import ALPHABET, EMPTY, FRAME_S, both, reading, sound_of, spoken

from asr_core.emission import Emission
from asr_core.export import FORMATS, as_json, export
from asr_core.reference import align
from asr_core.sound import Sound
from asr_core.text import Alphabet
from asr_core.transcription import Transcription


@settings(max_examples=25)
@given(both)
def test_json_holds_what_as_dict_does(transcription):
    written = export(transcription, "json")
    assert written == as_json(transcription)
    assert json.loads(written) == transcription.as_dict()


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


def test_times_go_on_after_an_hour():
    runs = [(2, 1), (1, 1), (ALPHABET.blank, 100 * 60 * 25), (3, 3), (ALPHABET.blank, 2)]  # 100 minutes of silence
    path = tuple(token for token, frames in runs for _ in range(frames))
    log_probs = torch.zeros(1, 29).log_softmax(-1).expand(len(path), 29)
    samples, features = np.zeros(round(len(path) * FRAME_S * 100), np.float32), np.zeros((len(path), 80), np.float32)
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


def test_nothing_said_is_a_valid_file_in_every_format():
    assert cues(EMPTY, "srt") == cues(EMPTY, "vtt") == []
    comments, words = ctm(export(EMPTY, "ctm"))
    assert len(comments) == 2 and words == []
    assert tiers(EMPTY) == (0.4, [("words (spike)", [(0, 0.4, "")]), ("letters (spike)", [(0, 0.4, "")])])
    assert json.loads(export(EMPTY, "json"))["words"] == []
    assert export(EMPTY, "text") == "\n"


def test_only_spaces_are_no_words_and_no_letters():
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
