"""Any Transcription -> payload -> JSON -> the browser's reader, under node: what comes out is what went in."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readings import both

from asr_core.alignment import CONVENTIONS
from asr_core.boundaries import THRESHOLD_MS, compare
from asr_core.decoding import greedy_path
from asr_core.tracks import TimedWord, Track
from asr_core.transcription import Transcription
from asr_core.viewer.payload import MEL_RANGE, Lane, answer_in, payload

NODE = ["node", str(Path(__file__).parent / "viewer" / "decode.mjs")]


@st.composite
def lanes_of(draw) -> list[Lane]:
    """One lane with any sound of its length and any name, or two: of one emission, or of two alphabets."""
    first = draw(both)
    draws = np.random.default_rng(draw(st.integers(0, 99)))
    loud = draws.standard_normal(first.sound.features.shape).astype(np.float32) * draw(st.sampled_from([0.0, 1.0, 1e6]))
    first = replace(first, sound=replace(first.sound, features=loud))
    if draw(st.booleans()):  # as calibrated
        first = first.with_confidences(draws.random(len(first.words)).tolist())
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    lanes = [Lane(draw(names), first)]
    if draw(st.booleans()):
        second = Transcription.of_path(greedy_path(first.emission), first.emission, first.sound, first.convention)
        other = draw(st.sampled_from([second, replace(draw(both), sound=first.sound)]))
        lanes.append(Lane(draw(names), other))
    if draw(st.booleans()):  # with times from elsewhere, which need not be in the recording
        labels = draw(st.lists(names, max_size=6))
        words = tuple(TimedWord(label, 0.31 * index, 0.31 * index + 0.2) for index, label in enumerate(labels))
        lanes[0] = replace(lanes[0], track=Track(draw(names), words))
    return lanes


def assert_same_rows(found: dict, lanes: list[Lane]) -> None:
    """What the browser works out of a track for every convention, and what Python does."""
    for convention in CONVENTIONS:
        if lanes[0].track is None:
            assert convention not in found["rows"]
            continue
        rows = compare(answer_in(lanes).with_convention(convention), lanes[0].track).rows
        for row, (text, label, kind, start_ms, end_ms, differs) in zip(rows, found["rows"][convention], strict=True):
            assert (text, label, kind) == (row.text, row.reference and row.reference.label, row.kind)
            if row.start_ms is None:
                assert (start_ms, end_ms, differs) == (None, None, True)
                continue
            assert abs(start_ms - row.start_ms) <= 1 and abs(end_ms - row.end_ms) <= 1  # float32 rounds otherwise
            if min(abs(abs(ms) - THRESHOLD_MS) for ms in (row.start_ms, row.end_ms)) > 1:
                assert differs == row.disagrees


def assert_same(found: dict, lanes: list[Lane]) -> None:
    sound = lanes[0].reading.sound
    low, high = MEL_RANGE
    shades = np.clip((sound.features - low) / (high - low), 0, 1) * 255
    assert found["durationS"] == sound.duration_s and found["convention"] == lanes[0].reading.convention
    assert found["melShape"] == list(shades.shape)
    assert np.abs(np.reshape(found["mel"], shades.shape) - shades).max(initial=0) <= 0.501
    assert len(found["lanes"]) == len(lanes)
    for index, (lane, each) in enumerate(zip(lanes, found["lanes"], strict=True)):
        reading, emission = lane.reading, lane.reading.emission
        assert (each["name"], each["text"], each["path"]) == (lane.name, reading.text, list(reading.path))
        assert (each["labels"], each["blank"]) == (list(emission.alphabet.labels), emission.alphabet.blank)
        assert each["frameS"] == emission.frame_s and each["greedy"] == (reading.path == greedy_path(emission))
        assert np.abs(np.array(each["probabilities"]) - emission.log_probs.exp().numpy()).max() < 0.005
        for convention in CONVENTIONS:
            placed = reading.with_convention(convention)
            assert each["warnings"][convention] == {str(word): why for word, why in placed.warnings.items()}
            for got, spans in zip(found["spans"][convention][index], (placed.tokens, placed.words), strict=True):
                assert [span[:3] for span in got] == [[span.label, span.first, span.last] for span in spans]
                assert np.allclose([span[3] for span in got], [span.score for span in spans], atol=0.5 / 255 + 1e-6)
                told = [span.score if span.confidence is None else span.confidence for span in spans]
                assert np.allclose([span[6] for span in got], told, atol=0.5 / 255 + 1e-6)
                assert np.allclose([span[4] for span in got], [span.start_s for span in spans], rtol=1e-6, atol=1e-6)
                assert np.allclose([span[5] for span in got], [span.end_s for span in spans], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; it runs the browser's reader")
@settings(max_examples=8)
@given(st.lists(lanes_of(), min_size=1, max_size=8))
def test_what_the_browser_reads_is_what_was_transcribed(several):
    sent = orjson.dumps([payload(*lanes) for lanes in several])  # orjson: as Gradio writes it
    done = subprocess.run(NODE, input=sent, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    for found, lanes in zip(json.loads(done.stdout), several, strict=True):
        assert_same(found, lanes)
        assert_same_rows(found, lanes)
