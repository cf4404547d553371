"""Shipped checkpoints by their bare names: in every command, from any working directory, and never mistaken for a folder."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from synthetic import tiny_model, toy_corpus, write_manifest
from test_training import config_of

import train
from asr_core import DEFAULT_CHECKPOINT, CheckpointError, Transcriber, benchmark, checkpoint, shipped
from asr_core.checkpoint import CONFIG
from asr_core.commands import export_onnx
from asr_core.onnx_export import OnnxError
from asr_core.training.loop import TrainingRun

ROOT = Path(__file__).parent.parent
EXAMPLE = min((ROOT / "examples").glob("*.mp3"))


def model_of(version: str) -> checkpoint.Checkpoint:
    return replace(tiny_model(), training={"version": version})


def version_of(source: str | Path) -> str:
    return checkpoint.load(source).training["version"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """A working directory far from the shipped checkpoints, which are two tiny ones: base and tiny."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "package" / "checkpoints")
    for name in ("base", "tiny"):
        model_of(f"shipped {name}").save(shipped.FOLDER / name)
    (shipped.FOLDER / "unfinished").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_the_folders_with_weights_are_shipped_and_the_default_is_one_of_them(elsewhere, monkeypatch):
    assert shipped.names() == ["base", "tiny"]
    monkeypatch.undo()
    assert shipped.FOLDER / DEFAULT_CHECKPOINT.name == DEFAULT_CHECKPOINT
    assert DEFAULT_CHECKPOINT.name in shipped.names()


def test_a_name_means_the_shipped_one_wherever_it_is_said(elsewhere, monkeypatch):
    for name in ("base", "tiny"):
        assert (version_of(name), checkpoint.load(name).name) == (f"shipped {name}", name)
    assert Transcriber.from_checkpoint("tiny").model.training == {"version": "shipped tiny"}
    (elsewhere / "base").mkdir()  # somebody's, and no checkpoint
    assert version_of("base") == "shipped base" and version_of(Path("tiny")) == "shipped tiny"
    for path in ("./base", Path("base")):
        with pytest.raises(CheckpointError, match=f"^base holds no {CONFIG}"):
            checkpoint.load(path)
    monkeypatch.chdir(shipped.FOLDER)
    assert version_of("base") == version_of("./base") == version_of(Path("base")) == "shipped base"


def test_a_path_means_the_folder_and_a_name_that_means_two_is_refused_with_both(elsewhere):
    model_of("mine").save(elsewhere / "base")
    for path in ("./base", "base/", str(elsewhere / "base"), "../elsewhere/base", Path("base")):
        assert version_of(path) == "mine"
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load("base")
    said = re.fullmatch(
        r"base is a shipped checkpoint, and .* Write (.+) for the one here, or (.+) for the shipped one.", str(refused.value)
    )
    assert [version_of(path) for path in said.groups()] == ["mine", "shipped base"]
    with pytest.raises(CheckpointError, match=r"no checkpoint folder \./tiny\. "):
        checkpoint.load("./tiny")


@pytest.mark.parametrize(
    ("here", "source", "name"), [("base", ".", "base"), ("base", "../tiny", "tiny"), ("base/x", "..", "base")]
)
def test_a_folder_that_is_named_by_where_one_stands_is_called_by_its_own_name(elsewhere, monkeypatch, here, source, name):
    (shipped.FOLDER / here).mkdir(exist_ok=True)
    monkeypatch.chdir(shipped.FOLDER / here)
    assert (checkpoint.load(source).name, version_of(source)) == (name, f"shipped {name}")
    (shipped.FOLDER / name / CONFIG).write_text("{")
    with pytest.raises(CheckpointError, match=f"^{name}/{CONFIG} is not JSON"):
        checkpoint.load(source)


def test_an_unknown_name_gets_a_sentence_with_those_there_are(elsewhere):
    for unknown in ("bass", "unfinished", "Base"):
        with pytest.raises(CheckpointError, match=rf"^There is no checkpoint folder {unknown}\. .* base, tiny\.$"):
            checkpoint.load(unknown)


@pytest.fixture
def clips(elsewhere):
    return toy_corpus(elsewhere, 4)


def test_the_commands_that_hear_take_a_name(run, elsewhere, clips):
    manifest = write_manifest(elsewhere / "m.tsv", [(clip, "valid") for clip in clips])
    for command in (("transcribe", clips[0].path), ("align", clips[0].path, "abc"), ("evaluate", manifest)):
        said = [run(*command, "--checkpoint", source)[:2] for source in ("tiny", shipped.FOLDER / "tiny")]
        if command[0] == "evaluate":
            said = [(code, out.partition("real-time factor")[0]) for code, out in said]
        assert said[0] == said[1] and said[0][0] == 0


def test_the_benchmark_takes_a_name_to_the_processes_that_it_starts(elsewhere, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark, "_python", lambda code, threads, *arguments: asked.extend(arguments) or "[]")
    benchmark.benchmark(["tiny"], 1, [1.0], 0.0, 1, lambda doing: None)
    assert json.loads(asked[0])[1] == str(shipped.FOLDER / "tiny") in asked[1:]


def test_a_shipped_one_is_pushed_exported_and_compressed_by_its_name(run, elsewhere, monkeypatch):
    sent = {}

    class Api:
        endpoint = "https://hub"

        def create_repo(self, name, exist_ok):
            pass

        def create_commit(self, name, operations, commit_message):
            sent.update({each.path_in_repo: each.path_or_fileobj for each in operations})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert run("push", "tiny", "somebody/copy")[0] == 0
    assert Path(sent[CONFIG]) == shipped.FOLDER / "tiny" / CONFIG
    assert run("compress", "tiny", "smaller")[0] == 0 and version_of("smaller") == "shipped tiny"

    def refuse(model, path):
        raise OnnxError(model.training["version"])

    monkeypatch.setattr(export_onnx, "export", refuse)
    assert run("export-onnx", "tiny", "model.onnx")[2] == "shipped tiny\n"


def test_a_training_begins_with_a_shipped_one_by_its_name(elsewhere, clips, monkeypatch, capsys):
    begun = []
    monkeypatch.setattr(TrainingRun, "run", lambda self, minutes: begun.append(self.encoder.state_dict()))
    monkeypatch.setitem(train.PRESETS, "fast", config_of("attention_unet", seed=1))
    write_manifest(elsewhere / "m.tsv", [(clip, split) for clip in clips for split in ("train", "valid")])
    command = ["train.py", "--preset", "fast", "--data", "m.tsv", "--workers", "0", "--init-from"]
    monkeypatch.setattr(sys, "argv", [*command, "tiny"])
    assert train.main() == 0
    loaded = checkpoint.load(shipped.FOLDER / "tiny").encoder.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in begun[0].items())
    monkeypatch.setattr(sys, "argv", [*command, "bass"])
    assert train.main() == 2 and "a shipped checkpoint: base, tiny." in capsys.readouterr().err


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_written_to_a_shipped_one_by_its_bare_name(run, elsewhere, clips, monkeypatch):
    write_manifest(elsewhere / "m.tsv", [(clip, "valid") for clip in clips])
    model_of("mine").save(elsewhere / "mine")
    for here in (elsewhere, shipped.FOLDER):
        monkeypatch.chdir(here)
        before = contents(elsewhere.parent)
        for command in (
            ("tune", elsewhere / "m.tsv", "--checkpoint", "tiny"),
            ("tune", elsewhere / "m.tsv", "--checkpoint", elsewhere / "mine", "--out", "tiny"),
            ("compress", elsewhere / "mine", "tiny"),
        ):
            code, out, err = run(*command)
            assert (code, out) == (2, "") and len(err.splitlines()) == 1
            assert err.startswith("tiny is a shipped checkpoint, and nothing is written to it by its bare name.")
            assert contents(elsewhere.parent) == before
    monkeypatch.chdir(elsewhere)
    assert run("compress", "mine", "./tiny")[0] == 0 and version_of("./tiny") == "mine"
    assert version_of(shipped.FOLDER / "tiny") == "shipped tiny"
    assert run("compress", "mine", shipped.FOLDER / "tiny")[0] == 0 and version_of(shipped.FOLDER / "tiny") == "mine"


def outside(folder: Path, *command: object) -> subprocess.CompletedProcess:
    """In a process of its own, from a folder that is not the repository's."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)


def test_each_shipped_checkpoint_is_found_from_a_foreign_folder_with_its_language_model(tmp_path):
    for name in shipped.names():
        (tmp_path / name).mkdir()  # no checkpoint
        done = outside(tmp_path, "-m", "asr_core", "transcribe", EXAMPLE, "--checkpoint", name, "--decoder", "beam")
        heard = Transcriber.from_checkpoint(shipped.FOLDER / name).transcribe(EXAMPLE, "beam").text
        assert (done.returncode, done.stdout) == (0, f"{heard}\n"), done.stderr


def test_the_page_and_its_comparison_take_a_name_from_a_foreign_folder(tmp_path):
    name = DEFAULT_CHECKPOINT.name
    done = outside(tmp_path, ROOT / "app.py", "--checkpoint", name, "--compare", name, "--compare", "nowhere")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("app.py: There is no checkpoint folder nowhere.")


@pytest.mark.parametrize("command", [("-m", "asr_core", "transcribe"), ("-m", "asr_core", "tune"), (ROOT / "app.py",)])
def test_the_help_names_them_and_says_how_a_folder_is_meant(tmp_path, command):
    said = " ".join(outside(tmp_path, *command, "--help").stdout.split())
    assert f"{', '.join(shipped.names())} (shipped; ./NAME is a folder)" in said
