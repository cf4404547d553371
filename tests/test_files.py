import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr_core.files import _half_written, name_beside, readable, write_atomically

ROOT = Path(__file__).parent.parent
GONE = 2**22 + 1  # larger than the number of any process on Linux
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
    begin = name_beside(tmp_path / "a").name.removesuffix(f"{os.getpid()}.tmp")
    theirs, dead = (tmp_path / f"{begin}{process}.tmp" for process in (os.getppid(), GONE))
    theirs.write_bytes(b"theirs")
    dead.write_bytes(b"half of what")
    _half_written.cache_clear()
    write_atomically(tmp_path / "a", b"mine")
    assert theirs.read_bytes() == b"theirs" and not dead.exists()


@pytest.mark.parametrize("name", [f".a.json.{GONE}.tmp", f".a.json.{GONE}.tmp/kept", ".a.json.1.tmp", ".saved/a.json"])
def test_what_somebody_else_left_in_the_folder_is_neither_cleared_nor_moved(tmp_path, name):
    """Other programs write .NAME.PROCESS.tmp too, and .saved is anybody's word."""
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_bytes(b"theirs")
    write_atomically(tmp_path / "a.json", b"mine")
    write_atomically(tmp_path / "a.json", b"mine again")
    assert theirs.read_bytes() == b"theirs"
    assert readable(tmp_path / "a.json", 100).read_bytes() == b"mine again"


def test_the_longest_name_there_is_can_be_written(tmp_path):
    path = tmp_path / ("a" * 251 + ".txt")
    write_atomically(path, b"long")
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"long"


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "a", "no bytes")
    assert (tmp_path / "a").read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
