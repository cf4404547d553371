"""kill -9 while anything is written: what was there before is whole, or what is new is, and the next run clears the rest."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import crashes
import pytest

from asr_core import CheckpointError, checkpoint
from asr_core.files import sentence
from asr_core.transaction import LIST, UNFINISHED, write_together

PROGRAM = Path(__file__).parent / "crashes.py"


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file below it, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system, nor kill -9")
def test_killed_at_any_moment_the_old_or_the_new_is_whole(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parent.parent)}
    done = subprocess.run([sys.executable, PROGRAM, tmp_path], env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("whole, all of it\n"), done.stdout + done.stderr


@pytest.fixture
def unfinished(tmp_path, monkeypatch) -> Path:
    """A checkpoint of version 0 over which version 1 was saved, all but the moving of its files."""
    crashes.save_checkpoint(tmp_path, 0)
    with monkeypatch.context() as here:
        here.setattr(os, "replace", None)
        with pytest.raises(TypeError):
            crashes.save_checkpoint(tmp_path, 1)
    return tmp_path / "model"


def test_what_was_saved_is_read_where_nothing_may_be_moved(unfinished):
    before = sorted(unfinished.rglob("*"))
    assert crashes.checkpoint_of(unfinished.parent) == 1
    assert sorted(unfinished.rglob("*")) == before
    crashes.WORDS[0].save(unfinished / checkpoint.LANGUAGE_MODEL)  # whatever is written next puts the others in their places
    found = checkpoint.load(unfinished)
    assert not (unfinished / UNFINISHED).exists()
    assert (found.training["version"], found.language_model.words) == (1, crashes.WORDS[0].words)


def test_what_is_shared_is_what_would_be_loaded(unfinished, online):
    """The files of version 1, from wherever each of them lies."""
    os.replace(unfinished / UNFINISHED / checkpoint.CONFIG, unfinished / checkpoint.CONFIG)
    assert online("push", unfinished, "somebody/model").returncode == 0
    pushed = unfinished.parent / "pushed" / "model"
    pushed.mkdir(parents=True)
    for name, content in online.models["somebody/model"].items():
        (pushed / name).write_bytes(content)
    assert crashes.checkpoint_of(pushed.parent) == 1


def rewrite(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def as_link(name: str, to: str):
    def change(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere.json")
        (folder / name).symlink_to(folder.parent / to)

    return change


def as_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"mine")


STRANGE = {  # what somebody did to the folder of a save that broke off
    "another file": rewrite("notes.txt", b"mine"),
    "another folder": lambda folder: (folder / "backup").mkdir(),
    "half a file": rewrite(checkpoint.WEIGHTS, b"half"),
    "a link": as_link(checkpoint.CONFIG, "elsewhere.json"),
    "a list that is a link to nothing": as_link(LIST, "nowhere"),
    "a file": as_file,
    "no list": lambda folder: (folder / LIST).unlink(),
    "a damaged list": rewrite(LIST, b'{"config.json": '),
    "no list but JSON": rewrite(LIST, b"[1]"),
    "a list of other files": rewrite(LIST, b'{"../config.json": 10, "model.safetensors": 20}'),
    "a list that is too long": rewrite(LIST, b" " * 10**6),
    "a bottomless list": rewrite(LIST, b"[" * 9_000),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_nothing_is_read_or_moved_from_a_folder_that_no_crash_left_so(unfinished, strange):
    STRANGE[strange](unfinished / UNFINISHED)
    before = contents(unfinished)
    telling = rf"{re.escape(UNFINISHED)} is not as a save that broke off leaves it: .*\. Move it elsewhere"
    with pytest.raises(CheckpointError, match=rf"^model/config.json cannot be read: its hidden folder {telling}\.$"):
        checkpoint.load(unfinished)
    for write in (
        lambda: crashes.save_checkpoint(unfinished.parent, 0),
        lambda: crashes.save_configuration(unfinished.parent, 0),
        lambda: crashes.WORDS[0].save(unfinished / checkpoint.LANGUAGE_MODEL),
    ):
        with pytest.raises(OSError, match=telling) as refused:
            write()
        assert str(unfinished) in sentence(refused.value)
    assert contents(unfinished) == before


@pytest.mark.parametrize("kept", ["notes", "a checkpoint", "a part of one"])
def test_what_somebody_keeps_in_saved_is_left_alone_and_is_no_part_of_the_checkpoint(tmp_path, run, clip_path, kept):
    """Versions before this left .saved after a crash, but a copy of a checkpoint may be somebody's own."""
    crashes.save_checkpoint(tmp_path, 0)
    model, saved = tmp_path / "model", tmp_path / "model" / ".saved"
    if kept == "notes":
        saved.mkdir()
        (saved / "README.md").write_text("mine")
    else:
        crashes.MODELS[1].save(saved)
    if kept == "a part of one":
        (saved / checkpoint.WEIGHTS).unlink()
    before = contents(saved)
    assert crashes.checkpoint_of(tmp_path) == 0
    crashes.save_configuration(tmp_path, 0)
    crashes.WORDS[0].save(model / checkpoint.LANGUAGE_MODEL)
    (saved / "clip.json").write_text("mine, too")
    assert run("transcribe", clip_path, "--checkpoint", model, "--format", "json", "--out", model)[0] == 0
    assert json.loads((model / "clip.json").read_text())["text"] is not None
    assert crashes.checkpoint_of(tmp_path) == 0
    crashes.save_checkpoint(tmp_path, 1)
    assert crashes.checkpoint_of(tmp_path) == 1
    assert contents(saved) == before | {"clip.json": b"mine, too"}


def test_files_that_are_not_among_those_written_stay(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    write_together(tmp_path, {"a": b"1", "b": b"2"})
    write_together(tmp_path, {"a": b"3"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"README.md": b"mine", "a": b"3", "b": b"2"}
