"""kill -9 while anything is written: python tests/crashes.py FOLDER [--moments 15].

In a process of its own, which has one thread: one that is forked while others hold locks may wait for them for ever. An
AssertionError says what was not whole, and after which kill.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import soundfile as sf
import torch
from synthetic import tiny_model, toy_corpus

from asr_core import checkpoint
from asr_core.commands.transcribe import _write as write_transcript
from asr_core.data import prepare as preparing
from asr_core.data.prepare import Source
from asr_core.data.utterances import read_manifest
from asr_core.kneser_ney import estimate
from asr_core.language_model import load as load_words
from asr_core.replay import Replay, Snapshot
from asr_core.replay import load as load_replay
from asr_core.training.state import load_state, save_state
from asr_core.transaction import UNFINISHED

torch.set_num_threads(1)
LONGEST_S = 0.04  # a write takes a few milliseconds
Write, Read = Callable[[Path, int], None], Callable[[Path], int]  # version 0 or 1, and which of them is there


def story(model: checkpoint.Checkpoint, snapshots: int) -> Replay:
    told = Replay(model.features, model.alphabet, 0.04, ("a",), ("a",), (torch.zeros(80_000, dtype=torch.int16),))
    for step in range(snapshots):
        told = told.with_snapshot(Snapshot(step, 1.0, 1.0), [torch.zeros(125, len(model.alphabet)).log_softmax(-1)])
    return told


WORDS = [estimate([text] * 2, 9, 99, 99) for text in ("the old words", "the new ones altogether")]
MODELS = [  # as different as two can be: of neither would the weights fit the other's configuration
    replace(model, language_model=replace(WORDS[n], weight=float(n)), replay=story(model, n), training={"version": n})
    for n, model in enumerate((tiny_model("attention_unet"), tiny_model("deepspeech2")))
]


def save_checkpoint(folder: Path, version: int) -> None:
    MODELS[version].save(folder / "model", compressed=version == 1)


def checkpoint_of(folder: Path) -> int:
    """Loaded, with all its parts of one version."""
    found = checkpoint.load(folder / "model")
    version = found.training["version"]
    assert type(found.encoder) is type(MODELS[version].encoder)
    assert (found.language_model.words, found.language_model.weight) == (WORDS[version].words, version)
    assert len(found.replay.snapshots) == version
    for name, tensor in MODELS[version].encoder.state_dict().items():
        assert torch.allclose(found.encoder.state_dict()[name], tensor, atol=0.01)
    return version


def save_configuration(folder: Path, version: int) -> None:
    if not (folder / "model").exists():
        MODELS[0].save(folder / "model")
    replace(MODELS[0], training={"version": version}).save_config(folder / "model")


def state(version: int) -> tuple[dict, list]:
    module = torch.nn.Linear(300, 300)
    torch.nn.init.constant_(module.weight, version)
    return {"encoder": module}, [torch.optim.AdamW(module.parameters(), lr=0.5 + version)]


STATES = [state(version) for version in (0, 1)]


def save_training(folder: Path, version: int) -> None:
    save_state(folder / "state.safetensors", *STATES[version], {"version": version})


def training_of(folder: Path) -> int:
    modules, optimisers = state(7)
    version = load_state(folder / "state.safetensors", modules, optimisers)["version"]
    assert (modules["encoder"].weight == version).all() and optimisers[0].param_groups[0]["lr"] == 0.5 + version
    return version


def transcript(version: int) -> bytes:
    return bytes(f"version {version}\n", "ascii") * 100_000


def transcript_of(folder: Path) -> int:
    found = (folder / "texts" / "clip.json").read_bytes()
    return [transcript(0), transcript(1)].index(found)


class InThisProcess:
    """In place of a pool of processes, which a killed parent would leave behind."""

    def Pool(self, workers: int):  # noqa: N802 (multiprocessing's)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap(self, function, jobs, chunksize):
        return map(function, jobs)


def corpus(clips: list) -> tuple[Write, Read]:
    def prepare(folder: Path, version: int) -> None:
        for clip in folder.rglob("*.flac"):
            clip.unlink()  # or it would be taken for done
        sources = [Source(replace(clip, text="ab"[version]), "train") for clip in clips]
        preparing.prepare(sources, folder, 1, print)

    def prepared(folder: Path) -> int:
        rows = read_manifest(folder / "manifest.tsv")
        for clip, row in zip(clips, rows, strict=True):
            if row.path.exists():
                assert (sf.read(row.path)[0] == sf.read(clip.path)[0]).all()
        return "ab".index({row.text for row in rows}.pop())

    return prepare, prepared


KINDS: dict[str, tuple[Write, Read]] = {
    "checkpoint": (save_checkpoint, checkpoint_of),
    "configuration": (save_configuration, lambda folder: checkpoint.load(folder / "model").training["version"]),
    "language-model": (
        lambda folder, version: WORDS[version].save(folder / "words"),
        lambda folder: [words.words for words in WORDS].index(load_words(folder / "words").words),
    ),
    "replay": (
        lambda folder, version: MODELS[version].replay.save(folder / "replay"),
        lambda folder: len(load_replay(folder / "replay").snapshots),
    ),
    "training": (save_training, training_of),
    "transcript": (
        lambda folder, version: write_transcript(transcript(version), folder / "texts" / "clip.json"),
        transcript_of,
    ),
}


def in_a_child(act: Callable[[], None], watch: Callable[[int], None] = lambda process: None) -> int:
    """What became of a forked process: its status, as wait gives it. watch: what this one does in the meantime."""
    ready, begin = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            preparing.get_context = lambda _: InThisProcess()
            os.write(begin, b".")
            act()
            os._exit(0)
        finally:
            os._exit(1)
    os.read(ready, 1)
    watch(process)
    os.close(ready)
    os.close(begin)
    return os.waitpid(process, 0)[1]


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name == UNFINISHED or path.suffix == ".tmp"]


def write_once(write: Write, folder: Path, version: int) -> None:
    assert in_a_child(lambda: write(folder, version)) == 0


def kill_at_random_moments(write: Write, read: Read, folder: Path, draw: random.Random, moments: int) -> None:
    write_once(write, folder, 0)

    def write_for_ever() -> None:
        for number in itertools.count(1):
            write(folder, number % 2)

    left = 0
    for number in range(10 * moments):  # more than `moments` only until one was in the middle of a write
        if number >= moments and left:
            break
        moment_s = draw.uniform(0, LONGEST_S)
        print(f"killed after {1000 * moment_s:.1f} ms", flush=True)

        def kill(process: int, moment_s: float = moment_s) -> None:
            time.sleep(moment_s)
            os.kill(process, signal.SIGKILL)

        assert in_a_child(write_for_ever, kill) == signal.SIGKILL, "it ended by itself"
        left += bool(half_written(folder))
        assert read(folder) in (0, 1)
    for version in (0, 1):
        write_once(write, folder, version)
        assert read(folder) == version
    assert half_written(folder) == []
    assert left, "no kill was in the middle of a write, so this has shown nothing"


def killed_at_step(step: int, act: Callable[[], None]) -> bool:
    """Whether `act` had so many steps that change or open files, and was killed before that one."""

    def act_and_count() -> None:
        count = itertools.count(1)

        def hook(event: str, arguments: tuple) -> None:
            if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove") and next(count) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)  # for good, but the process is not
        act()

    return in_a_child(act_and_count) == signal.SIGKILL


def kill_before_every_step(folder: Path) -> None:
    """While a checkpoint is saved over another."""
    found = []
    for step in itertools.count(1):
        here = folder / str(step)
        write_once(save_checkpoint, here, 0)
        if not killed_at_step(step, lambda here=here: save_checkpoint(here, 1)):
            break
        found.append(checkpoint_of(here))
        write_once(save_checkpoint, here, 1)
        assert checkpoint_of(here) == 1 and half_written(here) == []
    assert found == sorted(found) and {*found} == {0, 1} and len(found) > 10, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=15, help="of each of seven kinds of writing")
    args = parser.parse_args()
    clips = args.folder / "clips"
    clips.mkdir()
    for kind, (write, read) in (KINDS | {"corpus": corpus(toy_corpus(clips, 3))}).items():
        folder = args.folder / kind
        folder.mkdir()
        print(kind)
        kill_at_random_moments(write, read, folder, random.Random(f"{kind} 0"), args.moments)
    print("before every step")
    kill_before_every_step(args.folder / "steps")
    print("whole, all of it")


if __name__ == "__main__":
    main()
