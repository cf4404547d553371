"""Posteriors with zeros in them, as masking, pruning, rounding and float16 leave them, through all that reads posteriors."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_core import DEFAULT_CHECKPOINT, AlignmentError, Alphabet, Emission, Transcriber, Transcription, align, posteriors
from asr_core.beam import PIECE_S, beam_path, beam_text
from asr_core.data.utterances import read_manifest
from asr_core.decoding import collapse
from asr_core.doctor.mistakes import MISTAKES, Clip, MistakeError
from asr_core.export import CHOICES, export_lanes
from asr_core.kneser_ney import estimate
from asr_core.lessons import LESSONS, Heard
from asr_core.lookahead import Lookahead
from asr_core.viewer.payload import Lane, payload, reference_lanes

EXAMPLE = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")[0]
TINY = Alphabet((" ", "a", "b", "<blank>"), 3)
PIECES = Alphabet((" ab", "c", "b", "<blank>"), 3)  # without a space
ENGLISH = Alphabet()


def certain(said: str) -> np.ndarray:
    """One-hot log-probabilities of the page's alphabet: a frame for each character, "_" the blank."""
    tokens = [ENGLISH.blank if label == "_" else ENGLISH.labels.index(label) for label in said]
    log_probs = np.full((len(tokens), len(ENGLISH)), -np.inf, np.float32)
    log_probs[range(len(tokens)), tokens] = 0.0
    return log_probs


def read(log_probs: np.ndarray) -> Transcription:
    return posteriors.of_arrays(log_probs, ENGLISH.labels, ENGLISH.blank, 0.04).read()


def chance(emission: Emission, path: tuple[int, ...]) -> float:
    """ln of the path's probability."""
    return sum(float(emission.log_probs[frame, token]) for frame, token in enumerate(path))


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def heard(transcriber):
    return transcriber.transcribe(EXAMPLE.path, "greedy")


@pytest.fixture(scope="module")
def rounded(heard) -> dict[str, np.ndarray]:
    """A real reading, as others save it."""
    log_probs = heard.emission.log_probs.numpy()
    chances = np.exp(log_probs)
    return {
        "one-hot": (log_probs == log_probs.max(1, keepdims=True)).astype(np.float32),
        "float16": chances.astype(np.float16),
        "pruned": np.where(log_probs >= np.sort(log_probs, 1)[:, -2:-1], log_probs, -np.inf),
        "rounded to zero": np.where(chances < 1e-3, 0, chances),
        "masked": np.where(np.arange(29) == ENGLISH.labels.index("z"), -np.inf, log_probs),
    }


@pytest.mark.parametrize("kind", ["one-hot", "float16", "pruned", "rounded to zero", "masked"])
def test_a_real_reading_is_read_aligned_exported_and_taught_in_finite_figures(rounded, heard, kind, transcriber):
    found = posteriors.of_arrays(rounded[kind], ENGLISH.labels, ENGLISH.blank, heard.emission.frame_s)
    assert bool((found.emission.log_probs == -math.inf).any())
    for reading in (found.read(), found.read("beam"), transcriber.read(found.emission, found.sound, "beam")):
        assert chance(found.emission, reading.path) > -math.inf
    reading = found.read()
    assert reading.text == heard.text
    reference = align(reading, reading.text)
    assert (reference.aligned.text, reference.characters.errors) == (reading.text, 0)
    assert 0 <= reference.loss <= reference.path_cost * (1 + 1e-5) < math.inf
    told = " ".join(sentence for lesson in LESSONS for sentence in lesson(Heard(reading)).sentences)
    assert not any(sign in told for sign in ("−inf", "-inf", "nan ", "−0.00 "))
    for lanes in ([Lane("heard", reading)], reference_lanes(reference)):
        files = [export_lanes(lanes, format)[1] for format in CHOICES]
        assert not any(sign in file for file in files[:-1] for sign in ("-0.0,", "-0.0}", "inf", "NaN"))  # html is packed
        json.dumps(payload(*lanes), allow_nan=False)
    for token in (found.emission.log_probs == -math.inf).all(0).nonzero()[:, 0].tolist():  # impossible everywhere
        letter = ENGLISH.labels[token]
        text = reading.text[:-1] + letter
        place = rf"character {len(text)} of the text, in “{text.split()[-1]}”"
        with pytest.raises(AlignmentError, match=rf"^“{letter}” \({place}\) cannot be placed"):
            align(reading, text)


def test_certainty_costs_nothing_and_no_figure_is_minus_zero():
    reference = align(read(certain("_al_l__ is_ wel_l_")), "all is well")
    assert str(reference.loss) == str(reference.path_cost) == str(reference.blank_cost) == "0.0"
    assert [str(cost) for cost in reference.costs] == ["0.0"] * 11
    assert "paths 0.00 nats, this best path alone 0.00." in payload(*reference_lanes(reference))["lanes"][1]["note"]


def test_lessons_say_no_infinity_that_is_not_explained_and_no_minus_zero():
    told = " ".join(sentence for lesson in LESSONS for sentence in lesson(Heard(read(certain("_al_l__ is_")))).sentences)
    assert "Here they run from −∞, which is a probability of 0, to 0." in told
    assert "here it is 0.00 nats" in told and "that sum: 0.00 nats, or 0.00 for each token" in told
    assert not any(sign in told for sign in ("inf", "nan", "−0.00", "-0.00"))


@pytest.fixture(scope="module")
def lookahead():
    """Knows a, ab, ba and bab, and forbids a space that no word stands before."""
    return Lookahead(estimate(["a ab", "ab ba", "bab", "ab ab ba"], 4, 10**6, 10**6), TINY)


def with_zeros(frames: int, seed: int, zeros: float) -> torch.Tensor:
    """(T', 4): noise of which that part is impossible, but for one token a frame."""
    draw = np.random.default_rng(seed)
    scores = 2 * draw.standard_normal((frames, 4))
    kept = (draw.random((frames, 4)) >= zeros) | (np.arange(4) == draw.integers(0, 4, (frames, 1)))
    return torch.from_numpy(np.where(kept, scores, -np.inf)).float().log_softmax(1)


@settings(max_examples=200)
@given(
    st.integers(1, 40),
    st.integers(0, 10**6),
    st.sampled_from([0.3, 0.7, 1.0]),
    st.sampled_from([2, 16, 256]),
    st.sampled_from(["letters", "letters and words", "pieces"]),
)
def test_a_beam_never_follows_what_is_impossible(lookahead, frames, seed, zeros, width, kind):
    alphabet, words = (PIECES if kind == "pieces" else TINY), lookahead if kind == "letters and words" else None
    emission = Emission(with_zeros(frames, seed, zeros), PIECE_S / 6, alphabet)  # pieces of six frames
    path = beam_path(emission, words, width)
    assert len(path) == frames
    assert chance(emission, path) > -math.inf
    if zeros == 1.0:  # there is but one path
        assert path == tuple(emission.log_probs.argmax(1).tolist())
    if width == 256:
        assert beam_text(emission, words) == " ".join(alphabet.decode(collapse(path, alphabet.blank)).split())


@pytest.mark.parametrize("said", [" a_b", "a _ b  c_", "    ", "ab_c" * 30 + "d   e" * 30, ("a" * 70 + " " * 40) * 3])
def test_spaces_where_the_language_model_forbids_them_are_taken_from_the_sound(said, transcriber):
    found = posteriors.of_arrays(certain(said), ENGLISH.labels, ENGLISH.blank, 0.04)
    reading = transcriber.read(found.emission, found.sound, "beam")
    assert reading.path == found.read("beam").path == found.read("greedy").path


def test_a_word_longer_than_a_piece_is_not_cut():
    said = "thisisaverylongwordthatneverends" * 8
    found = posteriors.of_arrays(certain(said), ENGLISH.labels, ENGLISH.blank, 0.04)
    assert found.read("beam").text == found.read("greedy").text == said


def test_a_mistake_that_leaves_no_path_has_no_alignment(transcriber, heard):
    clip = Clip(transcriber, heard.sound, "hope")
    sharp = 200 * clip.alone.logits.detach()  # softmax rounds all but one token to zero
    clip.alone = replace(clip.alone, logits=sharp)
    (log_of_softmax,) = [each for each in MISTAKES if each.name == "Log of softmax"]
    broken = log_of_softmax.make(clip)
    assert broken.loss == math.inf and broken.aligned is None


def test_no_mistake_is_made_on_a_text_that_the_right_code_cannot_align(transcriber, heard):
    for mistake in MISTAKES:
        with pytest.raises(MistakeError, match=f"at least 121 frames, and the model hears {len(heard.path)} in this"):
            mistake.on(Clip(transcriber, heard.sound, "ab " * 40 + "a"))


def test_the_command_line_says_the_sentence(run, monkeypatch):
    zeros = posteriors.of_arrays(certain("al_l is wel_l"), ENGLISH.labels, ENGLISH.blank, 0.04)
    monkeypatch.setattr(Transcriber, "listen", lambda *_: (zeros.emission, zeros.sound))
    for decoder in ("greedy", "beam"):
        code, out, said = run("align", "clip.wav", "all is wall", "--decoder", decoder)
        assert (code, out) == (2, "")
        assert said.splitlines()[-1].startswith("“a” (character 9 of the text, in “wall”) cannot be placed")
        assert "Traceback" not in said
        code, out, _ = run("align", "clip.wav", "all is well", "--decoder", decoder)
        assert (code, json.loads(out)["reference"]["loss"]) == (0, 0.0)


def test_a_file_with_zeros_is_transcribed_by_either_decoder(run, tmp_path):
    np.savez(tmp_path / "c.npz", log_probs=certain(" a_b  c"), labels=ENGLISH.labels, blank=28, frame_duration_s=0.04)
    for decoder in ("greedy", "beam"):
        code, out, _ = run("transcribe", "--emission", tmp_path / "c.npz", "--decoder", decoder)
        assert (code, out) == (0, "ab c\n")
