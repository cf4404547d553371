"""The payload against the transcription it was made of, and the view's logic under node."""

import base64
import json
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.viewer.payload import payload

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def spoken():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT).transcribe(next(EXAMPLES.glob("*.mp3")))


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def test_payload_holds_the_path_and_posteriors_of_the_transcription(spoken):
    sent = payload(spoken)
    posteriors = (unpack(sent["posteriors"], "u1").reshape(sent["frames"], len(sent["labels"])) / 255.0) ** 2
    assert unpack(sent["argmax"], "<u2").tolist() == list(spoken.path)
    assert np.abs(posteriors - spoken.emission.log_probs.exp().numpy()).max() < 0.004
    mel = unpack(sent["mel"]["values"], "u1").reshape(sent["mel"]["frames"], sent["mel"]["bins"])
    assert mel.shape == tuple(spoken.features.shape)
    assert np.corrcoef(mel.ravel(), spoken.features.numpy().ravel())[0, 1] > 0.98  # clipped at both ends, else linear


def test_payload_columns_are_the_spans(spoken):
    words = payload(spoken)["words"]
    assert words["labels"] == [word.label for word in spoken.words]
    assert unpack(words["first"], "<u4").tolist() == [word.first for word in spoken.words]
    assert unpack(words["end_s"], "<f4") == pytest.approx([word.end_s for word in spoken.words])


def test_payload_is_small_and_holds_no_list_of_numbers(spoken):
    sent = payload(spoken)
    assert len(json.dumps(sent)) < 400_000 * spoken.duration_s / 30 + 4_000

    def lists(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from lists(item)
        elif isinstance(value, list):
            yield value

    assert all(isinstance(item, str) for values in lists(sent) for item in values)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; it runs the tests of the view's logic")
def test_the_views_logic_under_node():
    tests = sorted(map(str, (Path(__file__).parent / "viewer").glob("*.test.mjs")))
    done = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
