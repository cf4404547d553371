"""Feeds the readers of files with anything: python tests/fuzz.py TARGET [--seconds 120], with `pip install atheris`.

Whatever raises another exception than the reader's own is kept in tests/seeds/TARGET/, where test_fuzz.py finds it again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent)]  # this file is also run by itself

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from synthetic import RATE, speech_like, tiny_model
from whispers import ct2_folder, hub_folder, small_encoder

from asr_core import AudioError, EvidenceError, PosteriorsError, Transcriber, checkpoint, diagnose, posteriors, whisper
from asr_core.calibration import Calibration
from asr_core.checkpoint import CONFIG, LANGUAGE_MODEL, WEIGHTS, CheckpointError
from asr_core.data.prepare import read_corpus
from asr_core.data.utterances import DataError, read_speakers, read_utterances
from asr_core.doctor.example import sick_batch
from asr_core.doctor.reading import read as read_batch
from asr_core.export import export_lanes
from asr_core.features import WHISPER
from asr_core.kneser_ney import estimate
from asr_core.merge import export_merge
from asr_core.recordings import find_recordings
from asr_core.replay import FILE as REPLAY
from asr_core.replay import Replay, Snapshot
from asr_core.tracks import TrackError, load
from asr_core.viewer.payload import Lane

SEEDS = Path(__file__).parent / "seeds"
SOUND = speech_like(0.5)


@dataclass(frozen=True)
class Target:
    """good: a file as it should be. feed: gives the reader a file of any content, and uses what it makes of it; raises
    nothing but what is a bug."""

    good: Callable[[], bytes]
    feed: Callable[[bytes], None]


@cache
def folder() -> Path:
    """One folder of this process, with a checkpoint that has everything."""
    kept.append(tempfile.TemporaryDirectory())
    root = Path(kept[-1].name)
    model = tiny_model()
    told = Replay(model.features, model.alphabet, 0.04, ("a",), ("b c",), (torch.zeros(8_000, dtype=torch.int16),))
    for step in (0, 25):
        told = told.with_snapshot(Snapshot(step, 0.5, 1.5), [torch.zeros(13, len(model.alphabet)).log_softmax(-1)])
    words = estimate(["a few words", "and a few more"], 9, 99, 99)
    everything = {"language_model": words, "replay": told, "calibration": {"beam": Calibration()}}
    replace(model, **everything).save(root / "good", compressed=True)
    return root


kept: list = []


def part_of_a_checkpoint(name: str) -> Target:
    @cache
    def good() -> bytes:
        return (folder() / "good" / name).read_bytes()

    @cache
    def copy() -> Path:
        target = folder() / f"fuzzed {name}"
        target.mkdir()
        for each in (CONFIG, WEIGHTS, LANGUAGE_MODEL, REPLAY):
            (target / each).write_bytes((folder() / "good" / each).read_bytes())
        return target

    def feed(data: bytes) -> None:
        (copy() / name).write_bytes(data)
        with suppress(CheckpointError):
            use(checkpoint.load(copy()))

    return Target(good, feed)


def use(model: checkpoint.Checkpoint) -> None:
    """As the page would."""
    transcriber = Transcriber(model)
    for decoder in ("greedy", "beam"):
        heard = transcriber.transcribe((RATE, SOUND), decoder)
        export_lanes([Lane("heard", heard)], "html")
    if model.replay:
        for clip in range(len(model.replay.names)):
            model.replay.sound(clip)
            for moment in range(len(model.replay.snapshots)):
                model.replay.emission(moment, clip)


def part_of_a_whisper(prefix: str, make: Callable[[Path], Path], name: str) -> Target:
    """A file that a training may begin with, and that somebody may take for a checkpoint."""

    @cache
    def copy() -> Path:
        return make(folder() / f"{prefix} {name}") / name

    good = cache(lambda: copy().read_bytes())

    def feed(data: bytes) -> None:
        good()
        copy().write_bytes(data)
        with suppress(CheckpointError):
            whisper.refuse(f"{prefix}:{copy().parent}")
        with suppress(CheckpointError):
            whisper.load(small_encoder(), WHISPER, f"{prefix}:{copy().parent}")

    return Target(good, feed)


def feed_manifest(data: bytes) -> None:
    (folder() / "corpus").mkdir(exist_ok=True)
    path = folder() / "corpus" / "train.tsv"
    path.write_bytes(data)
    for read in (read_utterances, read_corpus, read_speakers, lambda path: read_corpus(path.parent)):
        with suppress(DataError):
            read(path)
    find_recordings([path])


def feed_batch(suffix: str) -> Callable[[bytes], None]:
    def feed(data: bytes) -> None:
        path = folder() / f"batch.{suffix}"
        path.write_bytes(data)
        with suppress(EvidenceError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of numbers that overflow
            diagnosis = diagnose(**read_batch(path))
            str(diagnosis), diagnosis.as_json()

    return feed


def batch() -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(sick_batch())) as arrays:
        return dict(arrays)


def one_array() -> bytes:
    file = io.BytesIO()
    np.save(file, batch()["target_lengths"])
    return file.getvalue()


def feed_array(data: bytes) -> None:
    """As one array of an archive whose checksums are right, which mutations of a whole archive hardly ever are."""
    file = io.BytesIO(sick_batch())
    with zipfile.ZipFile(file) as whole:
        entries = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in (entries | {"target_lengths.npy": data}).items():
            archive.writestr(name, content)
    feed_batch("npz")(changed.getvalue())


def posteriors_of_noise() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        "log_probs": draw.standard_normal((12, 3)).astype(np.float32), "labels": np.array(["_", "▁a", "b"]),
        "blank": np.array(0), "frame_duration_s": np.array(0.04), "audio": SOUND[:7_680], "sample_rate": np.array(RATE),
    }  # fmt: skip


def good_posteriors(suffix: str) -> bytes:
    arrays = posteriors_of_noise()
    if suffix == "npz":
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()
    texts = {"labels": '["_", "▁a", "b"]', "blank": "0", "frame_duration_s": "0.04"}
    return save_tensors({name: torch.from_numpy(arrays[name]) for name in ("log_probs", "audio", "sample_rate")}, texts)


def feed_posteriors(suffix: str) -> Callable[[bytes], None]:
    def feed(data: bytes) -> None:
        path = folder() / f"posteriors.{suffix}"
        path.write_bytes(data)
        with suppress(AudioError, PosteriorsError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            heard = posteriors.load(path)
            export_lanes([Lane("heard", heard.read())], "html")

    return feed


TRACKS = {
    ".ctm": "x 1 0.1 0.2 a\nx 1 0.3 0.1 b 0.9\n",
    ".TextGrid": '"ooTextFile"\n"TextGrid"\n0 1 <exists> 1\n"IntervalTier"\n"words"\n0 1 2\n0 0.5 "a"\n0.5 1 "b ""c"\n',
    ".json": '{"segments": [{"words": [{"word": "a", "start": 0.1, "end": 0.2}]}, {"text": "b", "start": 0.3, "end": 0.4}]}',
    ".srt": "1\n00:00:00,100 --> 00:00:00,200\n<i>a</i>\nb\n\n2\n00:00:00,300 --> 00:00:00,400\nc\n",
    ".vtt": "WEBVTT\n\nNOTE x\n\n00:00.100 --> 00:00.200 align:left\n<v A>a &lt;\n\n00:00.300 --> 00:00.400\nb\n",
}


def feed_track(ending: str) -> Callable[[bytes], None]:
    heard = posteriors.of_arrays(**posteriors_of_noise()).read()

    def feed(data: bytes) -> None:
        path = folder() / f"track{ending}"
        path.write_bytes(data)
        with suppress(TrackError):
            lanes = [Lane("heard", heard, track=load(path, heard.sound))]
            export_lanes(lanes, "html"), export_merge(lanes, "merge"), export_merge(lanes, "differences")

    return feed


MANIFEST = "path\tspeaker\tsplit\tduration_s\ttext\tclient_id\tsentence\na/b.mp3\tx\ttrain\t1.5\tit's\tx\ty\n"
TARGETS = {
    "config": part_of_a_checkpoint(CONFIG),
    "weights": part_of_a_checkpoint(WEIGHTS),
    "words": part_of_a_checkpoint(LANGUAGE_MODEL),
    "replay": part_of_a_checkpoint(REPLAY),
    "ctranslate2": part_of_a_whisper("ct2", ct2_folder, "model.bin"),
    "whisper-weights": part_of_a_whisper("hf", hub_folder, whisper.WEIGHTS),
    "whisper-config": part_of_a_whisper("hf", hub_folder, whisper.CONFIG),
    "manifest": Target(MANIFEST.encode, feed_manifest),
    "npz": Target(sick_batch, feed_batch("npz")),
    "npy": Target(one_array, feed_array),
    "safetensors": Target(
        lambda: save_tensors({name: torch.from_numpy(array) for name, array in batch().items()}), feed_batch("safetensors")
    ),
    "posteriors": Target(lambda: good_posteriors("npz"), feed_posteriors("npz")),
    "posteriors-safetensors": Target(lambda: good_posteriors("safetensors"), feed_posteriors("safetensors")),
}
TARGETS |= {f"track{ending}": Target(text.encode, feed_track(ending)) for ending, text in TRACKS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=120)
    args = parser.parse_args()
    import atheris

    torch.set_num_threads(1)
    target = TARGETS[args.target]
    corpus = folder() / "inputs"
    corpus.mkdir()
    (corpus / "good").write_bytes(target.good())
    found: set[tuple] = set()

    def feed(data: bytes) -> None:
        try:
            target.feed(data)
        except Exception as error:
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = type(error).__name__, where.filename, where.lineno
            if kind not in found:  # each once
                found.add(kind)
                (SEEDS / args.target).mkdir(parents=True, exist_ok=True)
                (SEEDS / args.target / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
                print(f"FOUND {kind}: {error}", flush=True)

    for module in [name for name in sys.modules if name.startswith("asr_core")]:
        for value in vars(sys.modules[module]).values():
            if callable(value) and getattr(value, "__module__", None) == module and hasattr(value, "__code__"):
                atheris.instrument_func(value)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={args.seconds}",
            "-max_len=65536",
            "-rss_limit_mb=4000",
            str(corpus),
        ],
        feed,
    )
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
