import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic import loud_sound

from asr_core.decoding import greedy_decode, greedy_path
from asr_core.emission import Emission
from asr_core.text import Alphabet
from asr_core.transcription import Transcription

ALPHABET = Alphabet()
FRAME_S = 0.04


def transcription_of(log_probs: torch.Tensor, seconds: float = 2.0) -> Transcription:
    emission = Emission(log_probs, FRAME_S, ALPHABET)
    return Transcription.of_path(greedy_path(emission), emission, loud_sound(seconds))


def random_log_probs(seed: int, frames: int = 50) -> torch.Tensor:
    """With spaces and blanks as common as they are in speech."""
    torch.manual_seed(seed)
    logits = torch.randn(frames, len(ALPHABET))
    logits[:, [1, ALPHABET.blank]] += 1.5
    return logits.log_softmax(-1)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_the_text_is_that_of_greedy_decoding(seed, frames):
    log_probs = random_log_probs(seed, frames)
    transcription = transcription_of(log_probs)
    assert [transcription.text] == greedy_decode(log_probs[None], torch.tensor([frames]), ALPHABET)
    assert transcription.text == " ".join(word.label for word in transcription.words)
    assert "".join(token.label for token in transcription.tokens).split() == transcription.text.split()


def test_the_path_is_the_most_probable_token_of_each_frame():
    log_probs = random_log_probs(0)
    transcription = transcription_of(log_probs)
    assert list(transcription.path) == [int(frame.argmax()) for frame in log_probs]
    assert len(transcription.path) == len(transcription.emission) == 50


def test_no_time_lies_past_the_end_of_the_recording():
    transcription = transcription_of(random_log_probs(1), seconds=1.23)  # 50 frames would reach 2 s
    assert transcription.duration_s == pytest.approx(1.23)
    assert max(token.end_s for token in transcription.tokens) == pytest.approx(1.23)


def test_as_dict_survives_json_and_keeps_what_was_said():
    transcription = transcription_of(random_log_probs(2))
    read = json.loads(json.dumps(transcription.as_dict(), allow_nan=False))
    assert read == transcription.as_dict()
    assert read["text"] == transcription.text != ""
    assert [word["label"] for word in read["words"]] == transcription.text.split()
    assert [token["label"] for token in read["tokens"]] == [token.label for token in transcription.tokens]
    for written, span in zip(read["words"] + read["tokens"], transcription.words + transcription.tokens, strict=True):
        assert written["start_s"] == pytest.approx(span.start_s, abs=1e-3)
        assert written["end_s"] == pytest.approx(span.end_s, abs=1e-3)
        assert written["score"] == pytest.approx(span.score, abs=1e-4)
    assert (read["duration_s"], read["frame_s"]) == (2.0, FRAME_S)
    assert "mean posterior" in read["score"]  # the export says what its scores are


def test_silence_is_an_empty_transcription_and_no_error():
    log_probs = torch.full((10, len(ALPHABET)), -20.0)
    log_probs[:, ALPHABET.blank] = 0.0
    transcription = transcription_of(log_probs.log_softmax(-1))
    assert (transcription.text, transcription.words, transcription.tokens) == ("", (), ())
    assert json.dumps(transcription.as_dict())


def test_another_convention_moves_times_and_nothing_else():
    spike = transcription_of(random_log_probs(3))
    boundary = spike.with_convention("boundary")
    assert (boundary.text, boundary.path) == (spike.text, spike.path)
    assert [word.label for word in boundary.words] == [word.label for word in spike.words]
    assert boundary.words != spike.words
    assert boundary.as_dict()["spans"].startswith("boundary:")
