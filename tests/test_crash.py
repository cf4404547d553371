"""kill -9 while anything is written: what was there before is whole, or what is new is, and the next run clears the rest."""

import os
import subprocess
import sys
from pathlib import Path

import crashes
import pytest

from asr_core import checkpoint
from asr_core.files import SAVED, write_together

PROGRAM = Path(__file__).parent / "crashes.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system, nor kill -9")
def test_killed_at_any_moment_the_old_or_the_new_is_whole(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parent.parent)}
    done = subprocess.run([sys.executable, PROGRAM, tmp_path], env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("whole, all of it\n"), done.stdout + done.stderr


def test_what_was_saved_is_read_where_nothing_may_be_moved(tmp_path):
    crashes.save_checkpoint(tmp_path, 0)
    model = tmp_path / "model"
    crashes.save_checkpoint(tmp_path / "other", 1)
    (tmp_path / "other" / "model").rename(model / SAVED)  # as after a crash, before the first file was moved
    before = sorted(model.rglob("*"))
    assert crashes.checkpoint_of(tmp_path) == 1
    assert sorted(model.rglob("*")) == before
    crashes.WORDS[0].save(model / checkpoint.LANGUAGE_MODEL)  # whatever is written next puts the others in their places
    found = checkpoint.load(model)
    assert not (model / SAVED).exists()
    assert (found.training["version"], found.language_model.words) == (1, crashes.WORDS[0].words)


def test_files_that_are_not_among_those_written_stay(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    write_together(tmp_path, {"a": b"1", "b": b"2"})
    write_together(tmp_path, {"a": b"3"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"README.md": b"mine", "a": b"3", "b": b"2"}
