import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr_core.files import write_atomically

ROOT = Path(__file__).parent.parent
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, "asr_core")  # the file alone: the package would take seconds to import
from files import write_atomically
print("ready", flush=True)
for number in range(10**9):
    write_atomically(Path(sys.argv[1]), bytes([number % 256]) * 4_000_000)
"""


def test_killed_at_any_moment_the_file_is_whole_and_nothing_is_left_for_ever(tmp_path):
    path = tmp_path / "[odd] name.bin"  # brackets mean something to a glob
    for moment in range(20):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(moment / 1_000)
            writer.kill()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 4_000_000 and len(set(content)) == 1
    write_atomically(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path):
    theirs = tmp_path / f".a.{os.getppid()}.tmp"
    theirs.write_bytes(b"theirs")
    write_atomically(tmp_path / "a", b"mine")
    assert theirs.read_bytes() == b"theirs"


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "a", "no bytes")
    assert (tmp_path / "a").read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
