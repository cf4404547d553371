"""A language model that lies once, beside the checkpoints that use it: who finds it, and who takes a copy along."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from crashes import WORDS
from synthetic import tiny_model, toy_corpus, write_manifest

from asr_core import checkpoint, shipped
from asr_core.checkpoint import CONFIG, LANGUAGE_MODEL, WEIGHTS, CheckpointError
from asr_core.tuned_words import TUNED

HERE, OTHER = WORDS
WEIGHT = 0.7


@pytest.fixture
def shelf(tmp_path) -> Path:
    """Two tuned checkpoints, and beside them the language model that both use."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    HERE.save(shelf / LANGUAGE_MODEL)
    for name in ("mine", "tiny"):
        replace(tiny_model(), language_model=replace(HERE, weight=WEIGHT)).save(shelf / name)
    return shelf


def words_of(source: str | Path, **options) -> tuple[str, ...] | None:
    words = checkpoint.load(source, **options).language_model
    return words and words.words


def untune(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config["language_model"]
    (folder / CONFIG).write_text(json.dumps(config))


def test_what_is_shipped_holds_it_once_and_no_configuration_names_a_file():
    assert list(shipped.FOLDER.rglob(LANGUAGE_MODEL)) == [shipped.FOLDER / LANGUAGE_MODEL]
    for name in shipped.names():
        model = checkpoint.load(name)
        assert model.language_model.to_bytes() == (shipped.FOLDER / LANGUAGE_MODEL).read_bytes()
        assert LANGUAGE_MODEL not in (shipped.FOLDER / name / CONFIG).read_text()
        assert json.loads((shipped.FOLDER / name / CONFIG).read_text())["language_model"].keys() == set(TUNED)


def test_the_one_beside_is_used_with_the_weights_of_each(shelf):
    for name in ("mine", "tiny"):
        assert sorted(path.name for path in (shelf / name).iterdir()) == [CONFIG, WEIGHTS]
        found = checkpoint.load(shelf / name).language_model
        assert (found.words, found.weight) == (HERE.words, WEIGHT)


def test_its_own_comes_first(shelf):
    OTHER.save(shelf / "mine" / LANGUAGE_MODEL)
    assert (words_of(shelf / "mine"), words_of(shelf / "tiny")) == (OTHER.words, HERE.words)


def test_its_own_comes_first_also_when_a_crash_left_it_on_its_way(shelf, monkeypatch):
    with monkeypatch.context() as here, pytest.raises(TypeError):
        here.setattr(os, "replace", None)  # which moves each file to its place, once all are written
        replace(tiny_model(), language_model=OTHER).save(shelf / "mine")
    assert not (shelf / "mine" / LANGUAGE_MODEL).exists() and words_of(shelf / "mine") == OTHER.words
    checkpoint.load(shelf / "tiny").save(shelf / "mine")
    assert words_of(shelf / "mine") == HERE.words


@pytest.mark.parametrize(
    ("here", "source"), [("mine", "."), ("mine/deep", ".."), ("", "mine"), ("", "mine/"), ("mine", "../mine")]
)
def test_beside_is_beside_the_folder_however_it_is_named(shelf, monkeypatch, here, source):
    (shelf / here).mkdir(exist_ok=True)
    monkeypatch.chdir(shelf / here)
    assert words_of(source) == HERE.words


def test_beside_a_link_is_beside_what_it_links_to(shelf, tmp_path):
    """Else one folder would be two models by two names, and a link in a folder of downloads take what lies there."""
    (tmp_path / "downloads").mkdir()
    OTHER.save(tmp_path / "downloads" / LANGUAGE_MODEL)
    (tmp_path / "downloads" / "linked").symlink_to(shelf / "mine")
    assert words_of(tmp_path / "downloads" / "linked") == HERE.words
    assert checkpoint.load(tmp_path / "downloads" / "linked").name == "linked"


def test_what_was_not_tuned_takes_no_strangers_file_from_the_folder_around_it(shelf):
    untune(shelf / "mine")
    assert words_of(shelf / "mine") is None
    (shelf / LANGUAGE_MODEL).write_bytes(b"anything")
    assert words_of(shelf / "mine") is None
    OTHER.save(shelf / "mine" / LANGUAGE_MODEL)
    assert words_of(shelf / "mine") == OTHER.words, "its own needs no tuning"


def test_what_was_tuned_and_finds_none_is_refused_with_the_remedy(shelf):
    (shelf / LANGUAGE_MODEL).unlink()
    with pytest.raises(CheckpointError, match=f"of mine .* tuned, .* no {LANGUAGE_MODEL} in .* beside it. .*{CONFIG}"):
        checkpoint.load(shelf / "mine")
    untune(shelf / "mine")  # as it advises
    assert words_of(shelf / "mine") is None


BAD = {
    "a pickle": lambda path: path.write_bytes(b"\x80\x04]\x94."),
    "a folder": lambda path: path.unlink() or path.mkdir(),
    "a pipe": lambda path: path.unlink() or os.mkfifo(path),
    "a terabyte": lambda path: os.truncate(path, 10**12),
    "a link to itself": lambda path: path.unlink() or path.symlink_to(path),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names on this system")
@pytest.mark.parametrize("bad", BAD)
def test_the_one_beside_is_read_as_carefully_as_its_own_and_never_overwritten(shelf, bad):
    model = checkpoint.load(shelf / "mine")
    BAD[bad](shelf / LANGUAGE_MODEL)
    with pytest.raises(CheckpointError, match=rf"of mine cannot be used: beside the folder, {LANGUAGE_MODEL} .*\.$"):
        checkpoint.load(shelf / "mine")
    model.save(shelf / "new")
    assert words_of(shelf / "new") == HERE.words, "a copy, since what lies beside it is of no use"


def test_saved_elsewhere_it_takes_a_copy_along_and_beside_the_same_none(shelf, tmp_path):
    model = checkpoint.load(shelf / "mine")
    for folder, copied in (
        (tmp_path / "alone", True),
        (shelf / "third", False),
        (tmp_path / "downloads" / "fourth", True),  # beside another one
    ):
        if folder.parent.name == "downloads":
            OTHER.save(folder.parent / LANGUAGE_MODEL)
        model.save(folder)
        assert (folder / LANGUAGE_MODEL).exists() == copied
        again = checkpoint.load(folder).language_model
        assert (again.words, again.weight) == (HERE.words, WEIGHT)


def test_saved_over_one_that_has_its_own_it_keeps_what_it_was(shelf):
    replace(tiny_model(), language_model=OTHER).save(shelf / "third")
    assert words_of(shelf / "third") == OTHER.words
    checkpoint.load(shelf / "mine").save(shelf / "third")
    assert words_of(shelf / "third") == HERE.words


def test_compressing_takes_a_copy_along(run, shelf, tmp_path):
    for out in (tmp_path / "small", shelf / "small"):
        assert run("compress", shelf / "mine", out)[0] == 0
        assert words_of(out) == HERE.words
    assert (tmp_path / "small" / LANGUAGE_MODEL).exists() and not (shelf / "small" / LANGUAGE_MODEL).exists()


def test_compressing_what_was_not_tuned_keeps_its_own_also_beside_the_same(run, shelf):
    """The one beside would not be used."""
    HERE.save(shelf / "mine" / LANGUAGE_MODEL)
    untune(shelf / "mine")
    assert run("compress", shelf / "mine", shelf / "small")[0] == 0
    assert words_of(shelf / "small") == HERE.words


def test_pushing_takes_it_along_byte_for_byte_and_who_fetches_it_has_it(online, shelf, clip_path):
    assert online("push", shelf / "mine", "somebody/mine").returncode == 0
    assert online.models["somebody/mine"][LANGUAGE_MODEL] == (shelf / LANGUAGE_MODEL).read_bytes()
    there = online("transcribe", clip_path, "--checkpoint", "somebody/mine", "--format", "json")
    here = online("transcribe", clip_path, "--checkpoint", shelf / "mine", "--format", "json")
    assert there.returncode == 0 and there.stdout == here.stdout


def test_a_hub_checkpoint_that_lacks_it_is_refused(online, shelf, clip_path):
    assert online("push", shelf / "mine", "somebody/mine").returncode == 0
    del online.models["somebody/mine"][LANGUAGE_MODEL]
    fetched = online("transcribe", clip_path, "--checkpoint", "somebody/mine")
    assert fetched.returncode == 2 and f"there is no {LANGUAGE_MODEL} in the folder or beside it" in fetched.stderr


def test_tuning_finds_the_one_beside_and_from_then_on_it_is_used(run, shelf, tmp_path):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 4)])
    untune(shelf / "mine")
    assert words_of(shelf / "mine") is None and words_of(shelf / "mine", untuned=True) == HERE.words
    code, _, err = run("tune", manifest, "--checkpoint", shelf / "mine", "--every", 1)
    assert code == 0, err
    assert words_of(shelf / "mine") == HERE.words
    assert sorted(path.name for path in (shelf / "mine").iterdir()) == [CONFIG, WEIGHTS]
    assert (shelf / LANGUAGE_MODEL).read_bytes() == HERE.to_bytes()


def test_tuning_into_another_folder_takes_a_copy_along(run, shelf, tmp_path):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 4)])
    untune(shelf / "mine")
    for out, copied in ((tmp_path / "tuned", True), (shelf / "tuned", False)):
        assert run("tune", manifest, "--checkpoint", shelf / "mine", "--out", out, "--every", 1)[0] == 0
        assert words_of(out) == HERE.words and (out / LANGUAGE_MODEL).exists() == copied
    assert words_of(shelf / "mine") is None
