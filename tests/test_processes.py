"""Training in two processes (gloo, on this machine) against training in one."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from synthetic import toy_corpus, write_manifest

ROOT = Path(__file__).parent.parent
# train.py itself, with a preset whose encoder trains in a blink and in float32.
PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import train
from synthetic import MELS, TINY
from asr_core.features import FeatureConfig
from asr_core.training.config import TrainingConfig
train.PRESETS["fast"] = TrainingConfig(
    TINY["attention_unet"], FeatureConfig(n_mels=MELS), epochs=2, batch_size=5, ema_decay=0.9, phone_weight=(0.5, 0.1)
)
sys.exit(train.main())
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    clips = toy_corpus(folder, 19)
    return write_manifest(folder / "m.tsv", [(clip, "train" if index < 14 else "valid") for index, clip in enumerate(clips)])


def command(manifest: Path, out: Path, processes: int, *more: str) -> list[str]:
    program = manifest.with_name("tiny_training.py")
    program.write_text(PROGRAM)
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    return [*start, str(program), "--data", str(manifest), "--out", str(out), "--workers", "0", "--dropout", "0", *more]


def train(manifest: Path, out: Path, processes: int, *more: str) -> str:
    done = subprocess.run(command(manifest, out, processes, *more), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def history(out: Path) -> list[dict]:
    return json.loads((out / "last" / "config.json").read_text())["training"]["history"]


@pytest.fixture(scope="module")
def alone(manifest, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train(manifest, out, 1)
    return out


def test_two_processes_make_the_same_updates_and_figures_as_one(manifest, alone, tmp_path):
    said = train(manifest, tmp_path, 2)
    assert "processes: 2" in said and said.count("final test of") == 1
    assert len(history(tmp_path)) == len(history(alone)) == 2
    for ours, theirs in zip(history(tmp_path), history(alone), strict=True):
        for figure in ("loss", "cer", "wer"):
            assert ours[figure] == pytest.approx(theirs[figure], rel=2e-3), "the same losses, every utterance counted once"
    here, there = (load_file(out / "last" / "model.safetensors") for out in (tmp_path, alone))
    moved = {name: (here[name].float() - there[name].float()).abs().max() for name in there}
    assert max(moved.values()) < 5e-3, "float sums in another order, and half precision on disk"
    steps = [state_of(out)["progress"]["step"] for out in (tmp_path, alone)]
    assert steps == [6, 6]


def state_of(out: Path) -> dict:
    from safetensors import safe_open

    with safe_open(out / "state.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["state"])["numbers"]


def test_a_run_of_two_goes_on_in_one(manifest, alone, tmp_path):
    train(manifest, tmp_path, 2, "--max-minutes", "0.0001")
    assert state_of(tmp_path)["progress"]["step"] == 1
    train(manifest, tmp_path, 1)
    assert history(tmp_path)[-1]["loss"] == pytest.approx(history(alone)[-1]["loss"], rel=2e-3)


def test_a_killed_process_ends_the_job_with_a_sentence_and_the_state_is_whole(manifest, tmp_path):
    long = ["--epochs", "5000"]
    train(manifest, tmp_path, 2, *long, "--max-minutes", "0.0001")
    before = (tmp_path / "state.safetensors").read_bytes()
    said = ended(command(manifest, tmp_path, 2, *long), lambda job: os.kill(worker_of(job.pid, 1), signal.SIGKILL))
    assert "train.py: training failed. Another process of this training has died." in said
    assert (tmp_path / "state.safetensors").read_bytes() != before, "written after the first epoch"
    train(manifest, tmp_path, 1, *long, "--max-minutes", "0.0001")


def test_a_scheduler_that_ends_torchrun_gets_a_saved_state(manifest, tmp_path):
    said = ended(command(manifest, tmp_path, 2, "--epochs", "5000"), subprocess.Popen.terminate)
    stopped = re.search(r"Stopped after step (\d+); the same command goes on from here.", said)
    assert stopped, said[-3000:]
    assert state_of(tmp_path)["progress"]["step"] == int(stopped[1])


def ended(command: list[str], end: Callable[[subprocess.Popen], None]) -> str:
    """What a job says that is ended while it trains."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        said = ""
        while "epoch 2:" not in said:
            said += (line := job.stdout.readline())
            assert line, said
        end(job)
        said += job.stdout.read()
    assert job.returncode != 0
    return said


def worker_of(parent: int, local_rank: int) -> int:
    """The process that torchrun started as this rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            status = (folder / "status").read_text()
        except OSError:
            continue
        if f"PPid:\t{parent}\n" in status and f"LOCAL_RANK={local_rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError("There is no such process.")


def test_in_one_process_nothing_is_shared():
    from asr_core.training import processes

    assert processes.part([1, 2, 3]) == [1, 2, 3] and processes.is_first() and processes.count() == 1
    assert processes.add_up([1.5, 2], torch.device("cpu")) == [1.5, 2] and processes.gather("x") == ["x"]
