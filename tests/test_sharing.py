"""push, and loading what was pushed, through huggingface_hub and a Hub on this machine."""

import pytest
from synthetic import tiny_model

from asr_core import CheckpointError, Transcriber
from asr_core.checkpoint import CONFIG, WEIGHTS
from asr_core.sharing import SharingError, card, push


def test_what_is_pushed_is_loaded_by_its_hub_id_and_says_the_same(online, checkpoint_folder, clip_path, tmp_path):
    (checkpoint_folder / "optimiser.pt").write_bytes(b"not to be shared")
    pushed = online("push", checkpoint_folder, "somebody/tiny")
    assert (pushed.returncode, pushed.stdout) == (0, f"{online.address}/somebody/tiny\n")
    assert set(online.models["somebody/tiny"]) == {WEIGHTS, CONFIG, "README.md"}
    assert "| validation | 100.0% |" in online.models["somebody/tiny"]["README.md"].decode()
    there = online("transcribe", clip_path, "--checkpoint", "somebody/tiny")
    here = Transcriber.from_checkpoint(checkpoint_folder).transcribe(clip_path)
    assert (there.returncode, there.stdout) == (0, f"{here.text}\n")


def test_who_may_not_write_and_what_is_not_there(online, checkpoint_folder, clip_path):
    stranger = online("push", checkpoint_folder, "somebody/tiny", token="guessed")
    assert stranger.returncode == 2 and "does not let you write to somebody/tiny" in stranger.stderr
    assert online.models == {}
    missing = online("transcribe", clip_path, "--checkpoint", "somebody/missing")
    assert missing.returncode == 2 and "There is no model somebody/missing on the Hub, or it is private." in missing.stderr
    assert "Traceback" not in stranger.stderr + missing.stderr


def test_without_a_network_nothing_is_sent_or_fetched_and_a_sentence_says_so(online, checkpoint_folder, clip_path):
    nowhere = "http://127.0.0.1:9"  # nothing answers there
    sent = online("push", checkpoint_folder, "somebody/tiny", at=nowhere)
    assert (sent.returncode, sent.stdout) == (2, "") and sent.stderr.startswith("The Hub cannot be reached: ")
    fetched = online("transcribe", clip_path, "--checkpoint", "somebody/tiny", at=nowhere)
    assert fetched.returncode == 2 and "somebody/tiny is not in the cache, and could not be fetched" in fetched.stderr
    assert len(sent.stderr.splitlines()) == len(fetched.stderr.splitlines()) == 1


def test_a_card_that_somebody_wrote_is_kept(online, checkpoint_folder):
    (checkpoint_folder / "README.md").write_text("# Mine\n")
    assert online("push", checkpoint_folder, "somebody/tiny").returncode == 0
    assert online.models["somebody/tiny"]["README.md"] == b"# Mine\n"


def test_what_could_not_be_loaded_is_not_shared(checkpoint_folder, tmp_path):
    (checkpoint_folder / WEIGHTS).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        push(checkpoint_folder, "somebody/tiny")
    with pytest.raises(SharingError, match="no checkpoint folder"):
        push(tmp_path / "nowhere", "somebody/tiny")
    for name in ("tiny", "a/b/c", "../tiny"):
        with pytest.raises(SharingError, match="is no Hub id"):
            push(checkpoint_folder, name)


def test_a_card_tells_the_size_and_every_figure():
    text = card(tiny_model(), "somebody/tiny")
    assert f"{tiny_model().encoder.parameter_count:,} parameters and 29 tokens" in text
    assert "# tiny\n" in text and "--checkpoint somebody/tiny" in text
