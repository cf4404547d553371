"""Files, folders and manifests: every recording once, each under a name of its own, and a sentence for what is wrong."""

import os
from pathlib import Path

import pytest

from asr_core.recordings import Recording, find_recordings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(*sources: Path) -> dict[str, str]:
    """The name and stem of each recording; there must be no problem."""
    recordings, problems = find_recordings(sources)
    assert problems == []
    assert all(recording.path.is_absolute() for recording in recordings)
    return {recording.name: recording.stem for recording in recordings}


def test_a_folder_gives_all_audio_below_it_in_order_and_nothing_else(tmp_path):
    touch(tmp_path, "b.wav", "a/2.FLAC", "a/deep/1.m4a")
    touch(tmp_path, "notes.txt", "cover.jpg", "wav", ".hidden.wav", "a/._2.wav", ".git/x.wav")
    assert found(tmp_path) == {"a/2.FLAC": "a/2", "a/deep/1.m4a": "a/deep/1", "b.wav": "b"}


def test_files_are_taken_whatever_their_ending_and_though_they_are_not_there(tmp_path):
    assert found(tmp_path / "gone.wav", tmp_path / "sound") == {"gone.wav": "gone", "sound": "sound"}


def test_names_begin_below_the_folder_that_all_share(tmp_path):
    touch(tmp_path, "anna/1.wav", "bert/1.wav", "bert/x/1.wav")
    assert list(found(tmp_path / "anna/1.wav", tmp_path / "bert/1.wav")) == ["anna/1.wav", "bert/1.wav"]
    assert list(found(tmp_path / "anna", tmp_path / "bert")) == ["anna/1.wav", "bert/1.wav", "bert/x/1.wav"]
    assert list(found(tmp_path / "bert/x")) == ["1.wav"]
    assert list(found(tmp_path / "bert")) == ["1.wav", "x/1.wav"], "the folder that was named, however deep its files lie"


def test_a_recording_named_twice_is_taken_once(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.wav", "a/2.wav")
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    sources = [Path("a/2.wav"), Path("a"), tmp_path / "a/1.wav", Path("./a/../a/1.wav"), Path("link/1.wav"), Path("link")]
    assert list(found(*sources)) == ["2.wav", "1.wav"]


def test_stems_are_kept_apart_by_their_endings_where_they_must(tmp_path):
    touch(tmp_path, "clip.wav", "clip.mp3", "clip.wav.flac", "other.wav", "sub/clip.wav", "dotted.name.wav")
    stems = found(tmp_path)
    assert stems == {
        "clip.mp3": "clip.mp3", "clip.wav": "clip.wav", "clip.wav.flac": "clip.wav.flac", "dotted.name.wav": "dotted.name",
        "other.wav": "other", "sub/clip.wav": "sub/clip",
    }  # fmt: skip
    assert len(set(stems.values())) == len(stems)


def test_links_are_followed_and_loops_of_links_end(tmp_path):
    touch(tmp_path, "corpus/a/1.wav", "elsewhere/2.wav")
    (tmp_path / "corpus/a/up").symlink_to("..")
    (tmp_path / "corpus/self").symlink_to("self")
    (tmp_path / "corpus/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus/lost.wav").symlink_to("nowhere.wav")
    assert list(found(tmp_path / "corpus")) == ["a/1.wav", "lost.wav", "more/2.wav"]


def test_names_may_hold_anything_that_a_file_system_allows(tmp_path):
    names = ["ä ö.wav", "two\nlines.wav", "quo\"te'.wav", "*?[x].wav", "日本.wav", os.fsdecode(b"\xff.wav")]
    touch(tmp_path, *names)
    assert set(found(tmp_path)) == set(names)


def test_a_manifest_names_files_from_its_own_folder(tmp_path):
    touch(tmp_path, "corpus/a/1.wav", "corpus/2.wav", "out.wav")
    (tmp_path / "corpus/m.tsv").write_text(f"text\tpath\nx\ta/1.wav\n\ny\t{tmp_path}/corpus/2.wav\nz\tgone.wav\n")
    assert list(found(tmp_path / "corpus/m.tsv")) == ["a/1.wav", "2.wav", "gone.wav"]
    (tmp_path / "corpus/m.tsv").write_text("path\n../out.wav\n2.wav\n")
    assert list(found(tmp_path / "corpus/m.tsv")) == ["out.wav", "corpus/2.wav"], (
        "no name leads out of the folder of results"
    )


@pytest.mark.parametrize(
    ("content", "telling"),
    [
        ("file\ttext\n1.wav\tx\n", "m.tsv is not a manifest: its header lacks the columns path."),
        ("path\ttext\n1.wav\n", "m.tsv, line 2: 1 fields, but the header has 2."),
        ("path\ttext\n\tx\n", "m.tsv, line 2: the path '' names no file."),
        (b"path\n\xff\n", "m.tsv is not a manifest: it is not UTF-8 text."),
        (None, "There is no manifest"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_a_sentence_beside_the_rest(tmp_path, content, telling):
    touch(tmp_path, "good.wav")
    if content:
        (tmp_path / "m.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    recordings, (problem,) = find_recordings([tmp_path / "m.tsv", tmp_path / "good.wav"])
    assert recordings == [Recording(tmp_path / "good.wav", "good.wav", "good")]
    assert telling in problem


def test_a_folder_without_audio_and_one_that_cannot_be_opened_are_a_sentence_each(tmp_path, monkeypatch):
    touch(tmp_path, "empty/notes.txt", "locked/1.wav", "open/2.wav")
    read = Path.iterdir

    def refuse(folder):  # chmod refuses nothing to root, as whom the tests may run
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return read(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    recordings, problems = find_recordings([tmp_path / "empty", tmp_path])
    assert [recording.name for recording in recordings] == ["open/2.wav"]
    assert problems[0].startswith(f"{tmp_path / 'empty'} holds no audio that can be read (.3gp .aac")
    assert problems[1:] == [f"{tmp_path / 'locked'} cannot be opened: Permission denied."]
