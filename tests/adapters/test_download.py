"""Downloads from a web server on this machine: by several processes at once, broken off, and of files that change."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from shelf import shelf as our_shelf

from asr_core.adapters.download import BLOCK, download

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
from pathlib import Path
from asr_core.adapters.download import download
download(sys.argv[1], Path(sys.argv[2]))
"""
OLD, NEW, LONGER = (random.Random(seed).randbytes(size) for seed, size in enumerate((50_000, 50_000, 60_000)))
HAVE = 20_000  # bytes of the old one that came


@pytest.fixture
def shelf():
    with our_shelf() as (address, shelf):
        shelf.address, shelf.files["file"] = f"{address}file", OLD
        yield shelf


@pytest.fixture
def in_processes(shelf, tmp_path):
    """The server stops in the middle of an answer until it is let go on. -> what starts a process that downloads."""
    shelf.begun, shelf.go_on = threading.Event(), threading.Event()
    shelf.files["file"] = random.Random(0).randbytes(6 * BLOCK)
    started = []

    def hold() -> None:
        shelf.begun.set()
        if len(shelf.asked) > 1:  # nobody may be waiting for the first any more
            shelf.go_on.set()
        shelf.go_on.wait()

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", PROGRAM, shelf.address, tmp_path / "file"]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        return started[-1]

    shelf.before_rest = hold
    yield start
    shelf.go_on.set()
    for process in started:
        process.kill()
        process.communicate()


def wait_until_it_waits(process: subprocess.Popen) -> None:
    said = ""
    while not said.endswith("Another process is fetching file: waiting for it.\n"):
        line = process.stderr.readline()
        assert line, said
        said += line


def test_two_processes_fetch_a_file_once_and_both_have_it(shelf, in_processes, tmp_path):
    first = in_processes()
    shelf.begun.wait()
    second = in_processes()
    wait_until_it_waits(second)
    shelf.go_on.set()
    assert (first.wait(), second.wait()) == (0, 0)
    assert shelf.asked == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == shelf.files["file"]


def test_where_one_process_is_killed_the_next_goes_on(shelf, in_processes, tmp_path):
    first = in_processes()
    shelf.begun.wait()
    second = in_processes()
    wait_until_it_waits(second)
    while (tmp_path / "file.partial").stat().st_size < 3 * BLOCK:
        time.sleep(0.01)
    first.kill()
    assert second.wait() == 0
    assert shelf.asked == ["file", f"file bytes={3 * BLOCK}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == shelf.files["file"]


def break_off(shelf, path: Path) -> None:
    shelf.most = HAVE
    with pytest.raises(ConnectionError, match="the connection ended after 20,000 of 50,000 bytes"):
        download(shelf.address, path)
    shelf.most = 2**40
    assert path.with_name("file.partial").read_bytes() == OLD[:HAVE]


@pytest.mark.parametrize("tag", [None, '"a1"', 'W/"a1"'])
def test_what_is_still_the_same_goes_on(shelf, tmp_path, tag):
    shelf.tags["file"] = tag
    break_off(shelf, tmp_path / "file")
    download(shelf.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OLD
    assert shelf.asked == ["file", f"file bytes={HAVE}-"]


@pytest.mark.parametrize(
    ("tags", "content", "heeds", "requests"),
    [
        (('"a1"', '"b2"'), NEW, True, 2),  # the server sends all of it
        (('"a1"', '"b2"'), NEW, False, 3),  # it sends the rest of another one, which its ETag tells
        ((None, None), LONGER, True, 3),  # only the length tells
        (('W/"a1"', 'W/"a1"'), LONGER, True, 3),
        (('"a1"', '"b2"'), OLD[: HAVE - 1], True, 2),
        (('"a1"', '"b2"'), NEW[:HAVE], False, 3),  # there would be nothing left to send
        ((None, None), OLD[: HAVE - 1], True, 3),
    ],
)
def test_two_versions_of_a_file_are_never_joined(shelf, tmp_path, tags, content, heeds, requests):
    shelf.tags["file"] = tags[0]
    break_off(shelf, tmp_path / "file")
    shelf.files["file"], shelf.tags["file"], shelf.heeds = content, tags[1], heeds
    download(shelf.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content
    assert len(shelf.asked) == requests
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("note", [None, b"", b"[1]", b'{"tag": "", "size": null}', b'{"tag": 1}'])
def test_what_is_of_no_known_version_is_fetched_anew(shelf, tmp_path, note):
    (tmp_path / "file.partial").write_bytes(NEW[:HAVE])
    if note is not None:
        (tmp_path / "file.partial.json").write_bytes(note)
    download(shelf.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OLD


def test_what_does_not_have_its_checksum_is_not_kept(shelf, tmp_path):
    digest = hashlib.sha256(OLD).hexdigest()
    shelf.files["file"] = NEW
    with pytest.raises(OSError, match=f"file was damaged, and is deleted: its SHA-256 is .* expected {digest}"):
        download(shelf.address, tmp_path / "file", digest)
    assert not (tmp_path / "file").exists() and not (tmp_path / "file.partial").exists()
    shelf.files["file"] = OLD
    download(shelf.address, tmp_path / "file", digest)
    assert (tmp_path / "file").read_bytes() == OLD


def test_an_answer_of_unknown_length_that_breaks_off_is_an_error_and_what_came_is_not_joined_to_anything(shelf, tmp_path):
    shelf.chunked, shelf.most = True, HAVE
    with pytest.raises(ConnectionError, match="the connection broke off"):
        download(shelf.address, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    shelf.most = 2**40
    download(shelf.address, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OLD
