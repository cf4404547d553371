"""Live captions against the same recording read at once."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import RATE, speech_like, tiny_model, tone

from asr_core import DEFAULT_CHECKPOINT, AudioError, Transcriber, audio
from asr_core.audio import Resampler
from asr_core.data.utterances import read_manifest
from asr_core.decoding import collapse
from asr_core.metrics import character_errors
from asr_core.stream import CONTEXT_S, LAG_S, LONGEST_S, UPDATE_S, Stream
from asr_core.text import Alphabet

EXAMPLES = read_manifest(Path(__file__).parent.parent / "examples" / "manifest.tsv")
TOLERANCE = 0.08  # CER of the stream's text, taking the text of the whole recording for the truth


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """All examples in a row: some 25 seconds."""
    return np.concatenate([audio.load(example.path) for example in EXAMPLES])


def fed(stream: Stream, samples: np.ndarray, sizes, rate: int = RATE) -> list:
    captions, at = [], 0
    for size in sizes:
        captions.append(stream.feed(samples[at : at + size], rate))
        at += size
        if at >= len(samples):
            return captions
    return captions


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_committed_words_never_change_and_the_result_is_nearly_that_of_the_whole(transcriber, speech, decoder):
    stream = transcriber.stream(decoder)
    captions = fed(stream, speech, [RATE // 4] * 1_000)
    for before, after in zip(captions, captions[1:], strict=False):
        assert after.committed.startswith(before.committed)
        assert before.committed == "" or after.committed == before.committed or after.committed[len(before.committed)] == " "
    result = stream.finish()
    assert result.text.startswith(captions[-1].committed)
    whole = transcriber.transcribe((RATE, speech), decoder)
    assert len(result.path) == len(whole.path)
    assert result.emission.log_probs.logsumexp(-1).abs().max() < 1e-4
    assert abs(float(np.mean([word.score for word in result.words]) - np.mean([word.score for word in whole.words]))) < 0.1
    assert character_errors(whole.text, result.text).rate < TOLERANCE


def test_the_tail_follows_at_once_and_words_are_committed_in_good_time(transcriber, speech):
    stream = transcriber.stream("greedy")
    update = round(UPDATE_S * RATE)
    for number, caption in enumerate(fed(stream, speech, [update] * 1_000), start=1):
        assert caption.duration_s == pytest.approx(min(number, len(speech) // update) * UPDATE_S)
        assert len(stream.path) * 0.04 > caption.duration_s - LAG_S - LONGEST_S
    assert any(len(caption.tail) > 3 for caption in fed(transcriber.stream("greedy"), speech[: 2 * RATE], [RATE // 2] * 4))


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_how_the_sound_was_cut_changes_nothing(sizes, seed):
    transcriber, samples = Transcriber(tiny_model()), speech_like(7.3, seed)
    streams = [transcriber.stream(), transcriber.stream()]
    fed(streams[0], samples, [len(samples)])
    fed(streams[1], samples, [*sizes, len(samples)])
    assert streams[0].caption == streams[1].caption
    first, second = (stream.finish() for stream in streams)
    assert first.path == second.path and np.array_equal(first.sound.samples, second.sound.samples)


def test_every_sample_is_kept_to_the_last(transcriber):
    samples = speech_like(3.217)
    stream = transcriber.stream()
    fed(stream, samples, [1_001] * 100)
    assert np.array_equal(stream.finish().sound.samples, samples)


def test_a_stereo_microphone_at_another_rate_is_heard_like_a_file(transcriber, speech):
    loud = np.repeat(speech[: 6 * RATE], 3)
    stereo = (np.stack([loud, loud], axis=1) * 32_767).astype(np.int16)
    stream = transcriber.stream("greedy")
    fed(stream, stereo, [24_000] * 100, rate=3 * RATE)
    whole = audio.load((3 * RATE, stereo))
    assert np.allclose(stream.finish().sound.samples, whole, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_099, 48_000, 96_000])
def test_resampled_in_pieces_it_is_the_whole_resampled(rate):
    samples = np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    pieces = Resampler(rate, RATE)
    made = [pieces.feed(piece) for piece in np.array_split(samples, [7, 1_000, 1_001, rate // 2])] + [pieces.finish()]
    assert np.allclose(np.concatenate(made), Resampler(rate, RATE).whole(samples), atol=1e-5)


def test_it_costs_the_same_however_long_one_talks(monkeypatch):
    transcriber, lengths = Transcriber(tiny_model()), []
    emission = transcriber.emission
    monkeypatch.setattr(transcriber, "emission", lambda samples: lengths.append(len(samples)) or emission(samples))
    stream = transcriber.stream()
    for second in range(90):
        stream.feed(speech_like(1.0, second), RATE)
    most = RATE * (CONTEXT_S + LONGEST_S + LAG_S + UPDATE_S + 0.2)
    assert len(lengths) == int(90 / UPDATE_S) and max(lengths) <= most


def test_pieces_of_words_are_committed_word_by_word():
    labels = [f" {letter}" if index % 3 else letter for index, letter in enumerate("abcdefghijklmnopqrstuvwxyzäö")]
    transcriber = Transcriber(replace(tiny_model(), alphabet=Alphabet((*labels, "<blank>"), 28)))
    stream = transcriber.stream("greedy")
    captions = [stream.feed(speech_like(0.5, number), RATE) for number in range(40)]
    assert len({caption.committed for caption in captions}) > 10
    for before, after in pairwise(captions):
        assert after.committed == before.committed or after.committed.startswith(f"{before.committed} ".lstrip())
    result = stream.finish()
    assert result.text.startswith(captions[-1].committed)
    assert result.text == " ".join(transcriber.model.alphabet.decode(collapse(result.path, 28)).split())


def test_silence_is_no_text_and_is_refused_only_at_the_end():
    stream = Transcriber(tiny_model()).stream()
    caption = stream.feed(np.zeros(20 * RATE, np.float32), RATE)
    assert caption.duration_s == 20
    with pytest.raises(AudioError, match="silent"):
        stream.finish()


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), tone(0.05)])
def test_too_little_sound_is_refused_at_the_end(samples):
    stream = Transcriber(tiny_model()).stream()
    if len(samples):
        stream.feed(samples, RATE)
    with pytest.raises(AudioError, match="ms long"):
        stream.finish()


def test_a_clip_shorter_than_an_update_is_read(transcriber):
    stream = transcriber.stream()
    assert stream.feed(tone(0.3), RATE).duration_s == 0
    assert len(stream.finish().path) > 5


def test_a_rate_that_changes_or_cannot_be_is_refused():
    stream = Transcriber(tiny_model()).stream()
    stream.feed(tone(0.3), RATE)
    with pytest.raises(AudioError, match="began with 16000"):
        stream.feed(tone(0.3), 8_000)
    with pytest.raises(AudioError, match="claims 3 samples a second"):
        Transcriber(tiny_model()).stream().feed(tone(0.3), 3)
