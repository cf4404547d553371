"""LibriSpeech's archives from a web server on this machine: a subset is there whole or not at all."""

import errno
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import soundfile as sf
from shelf import shelf as our_shelf
from synthetic import RATE, speech_like

from asr_core.data import librispeech
from asr_core.data.librispeech import librispeech_subsets
from asr_core.data.utterances import DataError

ROOT = Path(__file__).parent.parent
ARCHIVE = "dev-clean.tar.gz"
PROGRAM = """
import sys
from pathlib import Path
from asr_core.data import librispeech
librispeech.ARCHIVES, librispeech.SHA256["dev-clean"] = sys.argv[2:]
for utterance in librispeech.librispeech_subsets(Path(sys.argv[1]), ["dev-clean"], True):
    print(utterance.id, utterance.text, utterance.duration_s)
"""


def archive(*more: str) -> bytes:
    """Three utterances of half a second, in the layout of LibriSpeech's. more: names of other files."""
    chapter, made = "LibriSpeech/dev-clean/84/121", io.BytesIO()
    files = {"LibriSpeech/README.TXT": b"It is under CC BY 4.0."}
    for number in range(3):
        flac = io.BytesIO()
        sf.write(flac, speech_like(0.5, number), RATE, format="FLAC")
        files[f"{chapter}/84-121-000{number}.flac"] = flac.getvalue()
    files[f"{chapter}/84-121.trans.txt"] = b"84-121-0000 ONE\n84-121-0001 TWO\n84-121-0002 THREE\n"
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in {**files, **dict.fromkeys(more, b"theirs")}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WHOLE = sorted(
    [ARCHIVE, "LibriSpeech/README.TXT", "LibriSpeech/dev-clean/84/121/84-121.trans.txt"]
    + [f"LibriSpeech/dev-clean/84/121/84-121-000{number}.flac" for number in range(3)]
)


@pytest.fixture
def shelf(monkeypatch):
    """openslr.org, as far as it has dev-clean."""
    with our_shelf() as (address, shelf):

        def put(content: bytes) -> None:
            shelf.files[ARCHIVE], shelf.digest = content, hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(librispeech.SHA256, "dev-clean", shelf.digest)

        monkeypatch.setattr(librispeech, "ARCHIVES", address)
        shelf.put, shelf.address = put, address
        put(archive())
        yield shelf


def test_a_subset_is_fetched_checked_unpacked_and_then_taken_from_the_disk(shelf, tmp_path):
    for _ in range(2):
        utterances = librispeech_subsets(tmp_path / "data", ["dev-clean"], True)
        assert [(each.text, each.duration_s) for each in utterances] == [("one", 0.5), ("two", 0.5), ("three", 0.5)]
    assert contents(tmp_path / "data") == WHOLE
    assert shelf.asked == [ARCHIVE]


def test_what_is_half_unpacked_is_never_taken_for_the_subset(shelf, tmp_path, monkeypatch):
    """Whatever the file at which it stops, which at one time was to train on the others without a word."""
    extract, left = tarfile.TarFile.extract, 0

    def until_full(*arguments, **options) -> None:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        extract(*arguments, **options)

    monkeypatch.setattr(tarfile.TarFile, "extract", until_full)
    for files in range(5):
        left = files
        with pytest.raises(DataError, match="dev-clean could not be fetched: .*No space left.* run the same again"):
            librispeech_subsets(tmp_path, ["dev-clean"], True)
        assert not (tmp_path / "LibriSpeech").exists()
    left = 5
    assert len(librispeech_subsets(tmp_path, ["dev-clean"], True)) == 3
    assert contents(tmp_path) == WHOLE
    assert shelf.asked == [ARCHIVE]


def test_two_processes_fetch_it_once_and_both_have_all_of_it(shelf, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        if len(shelf.asked) > 1:
            go_on.set()
        go_on.wait()

    shelf.before_rest = hold
    command = [sys.executable, "-c", PROGRAM, tmp_path, shelf.address, shelf.digest]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, cwd=ROOT, **pipes)
    begun.wait()
    second = subprocess.Popen(command, cwd=ROOT, **pipes)
    while "waiting" not in (line := second.stderr.readline()):
        assert line, "the second did not wait"
    go_on.set()
    said = [process.communicate()[0].splitlines() for process in (first, second)]
    assert said[0] == said[1] and len(said[0]) == 3
    assert contents(tmp_path) == WHOLE
    assert shelf.asked == [ARCHIVE]


def test_an_archive_that_was_changed_is_refused_and_not_kept(shelf, tmp_path):
    shelf.files[ARCHIVE] = archive("LibriSpeech/dev-clean/more.txt")
    with pytest.raises(DataError, match=f"could not be fetched: .* its SHA-256 is .* expected {shelf.digest}"):
        librispeech_subsets(tmp_path, ["dev-clean"], True)
    assert not (tmp_path / ARCHIVE).exists() and not (tmp_path / "LibriSpeech").exists()


@pytest.mark.parametrize("damage", [lambda data: data[:-900], lambda data: data[:900], lambda data: b"no archive"])
def test_an_archive_on_the_disk_that_is_damaged_is_named(shelf, tmp_path, damage):
    (tmp_path / ARCHIVE).write_bytes(damage(archive()))
    with pytest.raises(DataError, match=rf"^{tmp_path / ARCHIVE} cannot be unpacked: .*Delete it"):
        librispeech_subsets(tmp_path, ["dev-clean"], True)
    assert not (tmp_path / "LibriSpeech").exists()


def test_nothing_is_unpacked_outside_its_folder(shelf, tmp_path):
    shelf.put(archive("../../theirs.txt"))
    with pytest.raises(DataError, match="cannot be unpacked"):
        librispeech_subsets(tmp_path / "a" / "b", ["dev-clean"], True)
    assert not list(tmp_path.rglob("theirs.txt"))


def test_what_cannot_be_fetched_gets_a_sentence(shelf, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no subset dev-dirty to fetch. It has: dev-clean, dev-other, test-clean"):
        librispeech_subsets(tmp_path, ["dev-dirty"], True)
    with pytest.raises(DataError, match="test-clean could not be fetched: Not Found.*run the same again"):
        librispeech_subsets(tmp_path, ["test-clean"], True)
    monkeypatch.setattr(librispeech, "ARCHIVES", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match="could not be fetched: .*refused. Check the network"):
        librispeech_subsets(tmp_path, ["test-clean"], True)


def test_the_checksums_are_those_that_torchaudio_has():
    from torchaudio.datasets.librispeech import _CHECKSUMS

    assert {f"{librispeech.ARCHIVES}{subset}.tar.gz": digest for subset, digest in librispeech.SHA256.items()} == _CHECKSUMS
