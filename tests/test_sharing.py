"""push, and loading what was pushed, through huggingface_hub and a Hub on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub import hub
from synthetic import tiny_model

from asr_core import CheckpointError
from asr_core.checkpoint import CONFIG, WEIGHTS
from asr_core.sharing import SharingError, card, push

ROOT = Path(__file__).parent.parent


@pytest.fixture
def asr_core(tmp_path):
    """Runs `python -m asr_core` in a process of its own, which may reach the Hub on this machine alone."""
    with hub() as (address, models):

        def run(*arguments, token: str = "secret") -> subprocess.CompletedProcess:
            told = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
            command = [sys.executable, "-m", "asr_core", *map(str, arguments)]
            return subprocess.run(command, cwd=ROOT, env=os.environ | told, capture_output=True, text=True)

        run.models, run.address = models, address
        yield run


def test_what_is_pushed_is_loaded_by_its_hub_id_and_says_the_same(asr_core, checkpoint_folder, clip_path, tmp_path):
    (checkpoint_folder / "optimiser.pt").write_bytes(b"not to be shared")
    pushed = asr_core("push", checkpoint_folder, "somebody/tiny")
    assert (pushed.returncode, pushed.stdout) == (0, f"{asr_core.address}/somebody/tiny\n")
    assert set(asr_core.models["somebody/tiny"]) == {WEIGHTS, CONFIG, "README.md"}
    assert "| validation | 100.0% |" in asr_core.models["somebody/tiny"]["README.md"].decode()
    there = asr_core("transcribe", clip_path, "--checkpoint", "somebody/tiny")
    here = asr_core("transcribe", clip_path, "--checkpoint", checkpoint_folder)
    assert (there.returncode, there.stdout) == (0, here.stdout)
    shutil.rmtree(checkpoint_folder)
    assert asr_core("transcribe", clip_path, "--checkpoint", "somebody/other").returncode == 2


def test_who_may_not_write_and_what_is_not_there(asr_core, checkpoint_folder, clip_path):
    stranger = asr_core("push", checkpoint_folder, "somebody/tiny", token="guessed")
    assert stranger.returncode == 2 and "does not let you write to somebody/tiny" in stranger.stderr
    assert asr_core.models == {}
    missing = asr_core("transcribe", clip_path, "--checkpoint", "somebody/missing")
    assert missing.returncode == 2 and "There is no model somebody/missing on the Hub, or it is private." in missing.stderr
    assert "Traceback" not in stranger.stderr + missing.stderr


def test_a_card_that_somebody_wrote_is_kept(asr_core, checkpoint_folder):
    (checkpoint_folder / "README.md").write_text("# Mine\n")
    assert asr_core("push", checkpoint_folder, "somebody/tiny").returncode == 0
    assert asr_core.models["somebody/tiny"]["README.md"] == b"# Mine\n"


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
