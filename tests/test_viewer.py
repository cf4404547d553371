"""The payload against the transcription it was made of, and the view's logic under node."""

import base64
import json
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.alignment import CONVENTIONS
from asr_core.comparison import differences
from asr_core.reference import align
from asr_core.viewer.offline import replay
from asr_core.viewer.payload import Lane, payload, reference_lanes

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def spoken():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT).transcribe(next(EXAMPLES.glob("*.mp3")))


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def test_payload_holds_the_path_and_posteriors_of_the_transcription(spoken):
    sent = payload(Lane("heard", spoken))
    emission, lane = sent["emissions"][0], sent["lanes"][0]
    posteriors = (unpack(emission["posteriors"], "u1").reshape(emission["frames"], len(emission["labels"])) / 255.0) ** 2
    assert unpack(lane["frame_tokens"], "<u2").tolist() == list(spoken.path)
    assert np.abs(posteriors - spoken.emission.log_probs.exp().numpy()).max() < 0.004
    mel = unpack(sent["mel"]["values"], "u1").reshape(sent["mel"]["frames"], sent["mel"]["bins"])
    assert mel.shape == tuple(spoken.sound.features.shape)
    assert np.corrcoef(mel.ravel(), spoken.sound.features[:].ravel())[0, 1] > 0.98  # clipped at both ends, else linear


def test_payload_columns_are_the_spans_in_every_convention(spoken):
    words = payload(Lane("heard", spoken))["lanes"][0]["words"]
    assert words["labels"] == [word.label for word in spoken.words]
    assert unpack(words["first"], "<u4").tolist() == [word.first for word in spoken.words]
    for convention in CONVENTIONS:
        times = unpack(words["times"][convention], "<f4").reshape(-1, 2)
        expected = [(word.start_s, word.end_s) for word in spoken.with_convention(convention).words]
        assert times == pytest.approx(np.array(expected), abs=1e-5)


def test_the_focus_is_that_of_the_lane_that_has_one(spoken):
    plain, looked_at = Lane("one", spoken), Lane("other", spoken, focus=(3, 5))
    assert payload(plain)["focus"] is None
    assert payload(plain, looked_at)["focus"] == {"lane": 1, "first": 3, "last": 5}


def test_two_lanes_of_one_model_send_its_posteriors_once_and_say_where_they_differ(spoken):
    reference = align(spoken, "the quick brown fox")
    sent = payload(*reference_lanes(reference))
    assert len(sent["emissions"]) == 1
    assert [lane["name"] for lane in sent["lanes"]] == ["heard", "reference"]
    assert unpack(sent["lanes"][1]["costs"], "<f4") == pytest.approx(reference.costs, rel=1e-5)
    assert len(sent["differences"]) == len(differences(spoken, reference.aligned)) > 0
    assert f"{reference.loss:.2f} nats" in sent["lanes"][1]["note"]


def test_payload_is_small_and_holds_no_list_of_numbers(spoken):
    sent = payload(Lane("heard", spoken))
    assert len(json.dumps(sent)) < 400_000 * spoken.duration_s / 30 + 6_000  # 400 kB for 30 s

    def lists(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from lists(item)
        elif isinstance(value, list):
            yield value
            for item in value:
                yield from lists(item)

    assert not any(isinstance(item, float | int) for values in lists(sent) for item in values)


def test_a_payload_with_warnings_is_json_as_gradio_writes_it(spoken):
    quiet = replace(spoken, sound=replace(spoken.sound, features=0 * spoken.sound.features[:]))
    sent = payload(Lane("heard", quiet))
    assert "silent" in str(sent["lanes"][0]["warnings"])
    assert orjson.loads(orjson.dumps(sent)) == sent  # which takes no numbers for keys


def test_the_offline_page_is_one_script_that_names_nothing_outside(spoken):
    page = replay(Lane("</script><script>alert(1)</script>", spoken))
    assert page.count("</script>") == 2, "a name cannot end the script"
    assert not re.search(r"^(import|export) ", page, flags=re.MULTILINE)
    assert not re.search(r"""(src|href)=["']?https?:""", page)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; it runs the tests of the view's logic")
def test_the_views_logic_under_node():
    tests = sorted(map(str, (Path(__file__).parent / "viewer").glob("*.test.mjs")))
    done = subprocess.run(["node", "--test", *tests], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
