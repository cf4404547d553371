"""Commands on a disk that is full, or may only be read: a sentence, nothing lost, and the same command works afterwards."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import tiny_model, toy_corpus, write_manifest
from test_training import config_of

import train
from asr_core import checkpoint
from asr_core.benchmark import write_clips
from asr_core.files import sentence
from asr_core.kneser_ney import estimate

ROOT = Path(__file__).parent.parent
VERSES = Path(__file__).parent / "verses.txt"
SIZE = 2_000_000  # bytes of the disk


class Disk:
    """A small disk in memory. folder: where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"

    def fill(self, left: int = 0) -> None:
        """Until only about so many bytes can be written."""
        with open(self.filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError:
                file.truncate(max(0, file.tell() - left))

    def free(self) -> None:
        self.filler.unlink()

    def only_read(self, only: bool = True) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if only else 'rw'}", self.folder], check=True)

    def content(self) -> dict[str, bytes]:
        files = [path for path in self.folder.rglob("*") if path.is_file() and path != self.filler]
        return {str(path): path.read_bytes() for path in files if "tensorboard" not in path.parts}


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', error)}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def corpus(tmp_path) -> Path:
    return write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 3)])


def with_words(name: str) -> checkpoint.Checkpoint:
    return replace(tiny_model(name), language_model=estimate(VERSES.read_text().splitlines(), 30, 99, 99))


COMMANDS = {  # what is written: its command line, of the disk's folder, a corpus and a checkpoint
    "a checkpoint": lambda disk, corpus, model: ("compress", model, disk / "old"),
    "a language model": lambda disk, corpus, model: ("language-model", VERSES, "--out", disk / "old" / "words"),
    "the weights of words": lambda disk, corpus, model: ("tune", corpus, "--checkpoint", disk / "old", "--every", 1),
    "transcripts": lambda disk, corpus, model: ("transcribe", corpus, "--checkpoint", model, "--out", disk / "texts"),
    "an alignment": lambda disk, corpus, model: (
        "align", corpus.parent / "clip0-0.wav", "a", "--checkpoint", model, "--out", disk / "texts",
    ),
    "a corpus": lambda disk, corpus, model: ("prepare", corpus, disk / "corpus", "--workers", 1),
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "trouble"),
    [*((what, "full") for what in COMMANDS), ("a checkpoint", "only read"), ("transcripts", "only read")],
)
def test_a_command_says_so_loses_nothing_and_works_afterwards(run, disk, corpus, checkpoint_folder, what, trouble):
    with_words("deepspeech2").save(disk.folder / "old")
    (disk.folder / "texts").mkdir()
    (disk.folder / "texts" / "older.json").write_text("{}")
    command = COMMANDS[what](disk.folder, corpus, checkpoint_folder)
    before = disk.content()
    disk.fill() if trouble == "full" else disk.only_read()
    code, out, err = run(*command)
    said = err.strip().splitlines()[-1]
    assert code == 2
    assert str(disk.folder) in said and "Traceback" not in out + err
    assert ("Make room" if trouble == "full" else "choose another folder") in said
    assert disk.content() == before
    disk.free() if trouble == "full" else disk.only_read(False)
    code, _, err = run(*command)
    assert code == 0, err
    after = disk.content()
    assert after != before and before.keys() <= after.keys()
    assert not [name for name in after if Path(name).name.startswith(".")]


@pytest.mark.parametrize(
    ("left", "what"),
    [(0, ""), (40_000, "/replay.safetensors"), (100_000, "/last"), (150_000, "/best"), (350_000, "/state.safetensors")],
)
def test_a_training_ends_with_a_sentence_and_goes_on_as_if_nothing_had_been(disk, tmp_path, monkeypatch, capsys, left, what):
    clips = toy_corpus(tmp_path, 8)
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "train" if n > 1 else "valid") for n, clip in enumerate(clips)])
    monkeypatch.setitem(train.PRESETS, "fast", config_of("attention_unet"))

    def main(out: Path, *options: str) -> tuple[int, str]:
        arguments = ["train.py", "--data", manifest, "--out", out, "--workers", "0", *options]
        monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
        return train.main(), capsys.readouterr().err

    out = disk.folder / "run"
    assert main(out, "--max-minutes", "0")[0] == 0
    before = disk.content()
    disk.fill(left)
    code, err = main(out)
    said = err.strip().splitlines()[-1]
    assert code == 2 and "Traceback" not in err
    assert said.startswith(f"train.py: {out}{what} cannot be used: No space left on device. Make room")
    after = disk.content()
    assert before.keys() <= after.keys() and not [name for name in after if name.endswith(".tmp")]
    for name in ("last", "best"):
        if (out / name).exists() and any((out / name).iterdir()):
            checkpoint.load(out / name)
    disk.free()
    assert main(out)[0] == 0
    assert main(tmp_path / "undisturbed")[0] == 0
    weights = [(folder / "last" / checkpoint.WEIGHTS).read_bytes() for folder in (out, tmp_path / "undisturbed")]
    assert weights[0] == weights[1]


def test_a_training_where_nothing_may_be_written_says_so(disk, corpus, monkeypatch, capsys):
    manifest = write_manifest(
        corpus, [(clip, split) for clip in toy_corpus(corpus.parent, 3) for split in ("train", "valid")]
    )
    monkeypatch.setitem(train.PRESETS, "fast", config_of("attention_unet"))
    disk.only_read()
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--data", str(manifest), "--out", str(disk.folder / "run"), "--workers", "0"]
    )
    assert train.main() == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and "choose another folder" in said.splitlines()[-1]


@pytest.mark.parametrize("command", ["evaluate", "transcribe", "diagnose"])
def test_an_output_that_cannot_be_written_is_told(disk, corpus, checkpoint_folder, command):
    """Python itself would complain of it only when it ends, of an object, with a code of its own."""
    disk.fill()
    arguments = {
        "evaluate": ["evaluate", corpus, "--checkpoint", checkpoint_folder],
        "transcribe": ["transcribe", corpus.parent / "clip0-0.wav", "--checkpoint", checkpoint_folder],
        "diagnose": ["diagnose", corpus.parent / "sick.npz"],
    }[command]
    if command == "diagnose":
        from asr_core.doctor.example import sick_batch

        (corpus.parent / "sick.npz").write_bytes(sick_batch())
    with open(disk.folder / "output", "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "asr_core", *map(str, arguments)], cwd=ROOT, stdout=output, stderr=-1, text=True
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert "standard output cannot be used: No space left on device. Make room" in done.stderr.splitlines()[-1]


def test_the_clips_of_a_benchmark_need_room_too(disk):
    disk.fill()
    with pytest.raises(OSError) as full:
        write_clips(disk.folder, [1.0])
    assert sentence(full.value).startswith(f"{disk.folder / '1s.wav'} cannot be used: No space left on device.")


def test_a_state_larger_than_the_disk_leaves_the_last_one(disk):
    model = tiny_model()
    model.save(disk.folder / "model")
    before = disk.content()
    large = replace(model, training={"notes": "x" * SIZE})
    for write in (large.save, large.save_config):
        with pytest.raises(OSError, match="No space"):
            write(disk.folder / "model")
        assert disk.content() == before and checkpoint.load(disk.folder / "model").training == model.training
