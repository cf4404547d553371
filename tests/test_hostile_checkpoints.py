"""Checkpoints that somebody made to do harm: each is refused in a sentence, soon, in little memory, and nothing is run."""

import json
import os
import pickle
import struct
from dataclasses import replace

import pytest
import torch
from crashes import WORDS, story
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from synthetic import tiny_model

from asr_core import checkpoint
from asr_core.checkpoint import CONFIG, LANGUAGE_MODEL, LARGEST_CONFIG, WEIGHTS, CheckpointError
from asr_core.replay import FILE as REPLAY


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that has everything, its matrices in 8 bits."""
    model = tiny_model()
    replace(model, language_model=WORDS[0], replay=story(model, 2)).save(tmp_path / "evil", compressed=True)
    return tmp_path / "evil"


def setting(*keys, to):
    def change(folder):
        config = json.loads((folder / CONFIG).read_text())
        inner = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        (folder / CONFIG).write_text(json.dumps(config))

    return change


def config_text(old: str, new: str):
    def change(folder):
        text = (folder / CONFIG).read_text()
        assert old in text
        (folder / CONFIG).write_text(text.replace(old, new, 1))

    return change


def content(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def sparse(name: str, size: int):
    """A file that says it is so large and takes no room."""
    return lambda folder: os.truncate(folder / name, size)


def tensors(edit, name: str = WEIGHTS):
    def change(folder):
        with open(folder / name, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            metadata = json.loads(file.read(length)).get("__metadata__")
        stored = load_file(folder / name)
        edit(stored)
        save_file({key: value.contiguous() for key, value in stored.items()}, folder / name, metadata=metadata)

    return change


def typed(name: str, dtype: torch.dtype):
    return tensors(lambda stored: stored.update({name: stored[name].to(dtype)}))


def header(values: dict, data: bytes = b"", length: int | None = None, name: str = WEIGHTS):
    """A safetensors file with any header."""
    text = json.dumps(values).encode()
    return content(name, struct.pack("<Q", len(text) if length is None else length) + text + data)


def told(**changes):
    """The replay with another header."""

    def change(folder):
        with open(folder / REPLAY, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            values = json.loads(json.loads(file.read(length))["__metadata__"]["replay"]) | changes
        save_file(load_file(folder / REPLAY), folder / REPLAY, metadata={"replay": json.dumps(values)})

    return change


def in_place(name: str, make):
    def change(folder):
        (folder / name).unlink()
        make(folder / name)

    return change


def fifo(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path)


def words(edit):
    """The language model with other words, and so many entries that they fit."""

    def change(folder):
        text = edit()
        size = len(text) + 2
        arrays = {name: torch.zeros(size, dtype=torch.uint8) for name in ("one", "one_backoff")}
        arrays |= {name: torch.zeros(0, dtype=torch.uint8) for name in ("two", "two_backoff", "three")}
        arrays = {name: array.numpy() for name, array in arrays.items()}
        arrays["words"] = torch.tensor(list("\n".join(text).encode()), dtype=torch.uint8).numpy()
        for name, length in (("two_sizes", size), ("three_sizes", 0), ("two_words", 0), ("three_words", 0)):
            arrays[name] = torch.zeros(length, dtype=torch.uint8).numpy().astype("uint16")
        save_arrays(arrays, folder / LANGUAGE_MODEL)

    return change


F16 = {"dtype": "F16", "shape": [29], "data_offsets": [0, 58]}
LABELS = list("abcdefghijklmnopqrstuvwxyz' ") + ["_"]
HOSTILE = {
    # config.json: sizes
    "a width of 10^9": (setting("encoder", "width", to=10**9), "width is 1000000000; it must be a whole number from 1 to"),
    "a million blocks": (setting("encoder", "inner_blocks", to=10**6), "inner_blocks is 1000000"),
    "a googol of channels": (setting("encoder", "channels", to=10**100), r"channels is 1000\d*\.\.\.\d*0; it must be"),
    "more parameters than fit": (
        lambda folder: [setting("encoder", name, to=16_384)(folder) for name in ("width", "hidden")],
        r"describes an encoder of [\d,]+ parameters; 120,000,000 are the most",
    ),
    "an endless FFT": (setting("features", "n_fft", to=10**8), "n_fft is 100000000"),
    "a window beyond the FFT": (setting("features", "win_length", to=401), "win_length is 401"),
    "a frame for each sample": (setting("features", "hop_length", to=1), "hop_length is 1"),
    "a prime rate": (setting("features", "sample_rate", to=15_991), "multiple of 25 Hz"),
    "a hundred thousand labels": (setting("alphabet", "labels", to=list(map(str, range(100_000)))), "at most 65,536 texts"),
    "an endless label": (setting("alphabet", "labels", to=["a" * 1_000, *LABELS[1:]]), "text of 1 to 64 characters"),
    # config.json: types
    "a true width": (setting("encoder", "width", to=True), "width is True; it must be a whole number"),
    "a true deviation": (setting("features", "std", to=True), "std is True; it must be a number"),
    "half a layer": (setting("encoder", "inner_blocks", to=2.5), r"inner_blocks is 2\.5"),
    "a list for a width": (setting("encoder", "width", to=[16]), r"width is \[16\]"),
    "NaN for the mean": (setting("features", "mean", to=float("nan")), "mean is nan"),
    "infinite dropout": (setting("encoder", "dropout", to=float("inf")), "dropout is inf"),
    "minus one block": (setting("encoder", "inner_blocks", to=-1), "inner_blocks is -1"),
    "a list for an encoder": (setting("encoder", to=[1, 2]), "does not describe a CTC Lens model"),
    "an encoder without a name": (setting("encoder", "name", to={"a": 1}), "does not describe a CTC Lens model"),
    "a text for an alphabet": (setting("alphabet", to="abc"), "does not describe a CTC Lens model"),
    "a text for labels": (setting("alphabet", "labels", to="abc"), "a list of at most"),
    "numbers for labels": (setting("alphabet", "labels", to=list(range(29))), "A label is 0; it must be text"),
    "half a sign for a label": (setting("alphabet", "labels", to=["\ud800", *LABELS[1:]]), r"A label is '\\ud800'"),
    "an empty label": (setting("alphabet", "labels", to=["", *LABELS[1:]]), "A label is ''"),
    "a label twice": (setting("alphabet", "labels", to=["b", *LABELS[1:]]), "repeats a label"),
    "a blank below zero": (setting("alphabet", "blank", to=-1), "The blank is token -1"),
    "a true blank": (setting("alphabet", "blank", to=True), "The blank is True"),
    "a blank in words": (setting("alphabet", "blank", to="28"), "The blank is '28'"),
    "a history of one": (setting("training", to=1), "training is 1; it must be an object"),
    "a list of metrics": (setting("metrics", to=[]), r"metrics is \[\]; it must be an object"),
    "a thousand unknown options": (
        lambda folder: [setting("features", to={f"option{n}": n for n in range(9_999)})(folder)],
        r"features has no option .{300,420} …",
    ),
    # config.json: the file
    "100 MB of JSON": (sparse(CONFIG, 100_000_000), r"config.json cannot be read: it holds 100,000,000 bytes"),
    "a name that comes twice": (config_text('"width": 16', '"width": 16, "width": 17'), "it gives a name two values"),
    "a number of 10,000 digits": (config_text('"width": 16', '"width": 1' + "0" * 10_000), "is not JSON"),
    "a number beyond all": (config_text('"width": 16', '"width": 1e999'), "width is inf"),
    "a nest": (content(CONFIG, b'{"format": 1, "training": ' + b"[" * 400_000), "is not JSON"),
    "an endless format": (content(CONFIG, json.dumps({"format": "x" * 900_000}).encode()), r"has format 'x+\.\.\.x+'"),
    "UTF-16": (content(CONFIG, '{"format": 1}'.encode("utf-16")), "is not JSON.*can't decode byte 0xff"),
    "a folder for a config": (in_place(CONFIG, os.mkdir), "config.json cannot be read: it is not an ordinary file"),
    "a pipe for a config": (in_place(CONFIG, fifo), "config.json cannot be read: it is not an ordinary file"),
    "a device for a config": (in_place(CONFIG, lambda path: path.symlink_to("/dev/zero")), "not an ordinary file"),
    "a link to itself": (in_place(CONFIG, loop), "config.json cannot be read: Too many levels of symbolic links"),
    "a link to nothing": (in_place(CONFIG, lambda path: path.symlink_to("nothing")), "holds no config.json"),
    # model.safetensors
    "a pickle": (content(WEIGHTS, pickle.dumps({"a": 1})), "is not a safetensors file"),
    "a terabyte": (
        sparse(WEIGHTS, 10**12),
        "model.safetensors cannot be read: it holds 1,000,000,000,000 bytes, and at most",
    ),
    "a header without an end": (header({}, length=2**63), "is not a safetensors file, or is damaged"),
    "a header of no JSON": (content(WEIGHTS, struct.pack("<Q", 8) + b"no JSON!"), "is not a safetensors file"),
    "offsets beyond the file": (header({"head.bias": {**F16, "data_offsets": [0, 10**15]}}), "is not a safetensors file"),
    "a shape beyond its bytes": (header({"head.bias": {**F16, "shape": [10**9]}}, bytes(58)), "is not a safetensors file"),
    "a shape whose size overflows": (
        header({"head.bias": {**F16, "shape": [2**32, 2**32]}}, bytes(58)),
        "is not a safetensors file",
    ),
    "overlapping tensors": (header({"a": F16, "b": F16}, bytes(58)), "is not a safetensors file"),
    "a hole": (header({"a": {**F16, "data_offsets": [10, 68]}}, bytes(68)), "is not a safetensors file"),
    "a type that is none": (header({"a": {**F16, "dtype": "OBJECT"}}, bytes(58)), "is not a safetensors file"),
    "int64 weights": (typed("head.bias", torch.int64), "'head.bias' is I64; weights are F16, BF16, F32, or I8 with"),
    "float64 weights": (typed("head.bias", torch.float64), "'head.bias' is F64"),
    "boolean weights": (typed("head.bias", torch.bool), "'head.bias' is BOOL"),
    "8-bit scales": (typed("head.weight.scale", torch.int8), r"'head.weight.scale' is in 8 bits and has no scale"),
    "scales in whole numbers": (typed("head.weight.scale", torch.int32), "'head.weight.scale' is I32"),
    "scales of nothing": (
        tensors(lambda stored: stored.update({"head.bias.scale": torch.ones(29)})),
        "does not know the tensor 'head.bias.scale'",
    ),
    "scales that are no numbers": (
        tensors(lambda stored: stored["head.weight.scale"].fill_(float("nan"))),
        "'head.weight' holds NaN or infinite values",
    ),
    "scales that lead beyond all": (
        tensors(lambda stored: stored.update({"head.weight.scale": torch.full((29,), 3e38)})),
        "'head.weight' holds NaN or infinite values",
    ),
    "a scale too many": (
        tensors(lambda stored: stored.update({"head.weight.scale": torch.ones(30)})),
        "no scale for each of its 29 rows",
    ),
    "a tensor of size zero": (
        tensors(lambda stored: stored.update({"head.bias": torch.zeros(0)})),
        r"has shape \(0,\); the encoder",
    ),
    "an endless name": (tensors(lambda stored: stored.update({"x" * 100_000: torch.zeros(1)})), r"tensor 'x+\.\.\.x+'"),
    "a folder for weights": (in_place(WEIGHTS, os.mkdir), "model.safetensors cannot be read: it is not an ordinary file"),
    "a pipe for weights": (in_place(WEIGHTS, fifo), "model.safetensors cannot be read: it is not an ordinary file"),
    # language_model.safetensors, and its weights in config.json
    "a pipe for words": (in_place(LANGUAGE_MODEL, fifo), "cannot be used: language_model.safetensors cannot be read"),
    "a terabyte of words": (sparse(LANGUAGE_MODEL, 10**12), "language_model.safetensors cannot be read: it holds"),
    "a pickle of words": (content(LANGUAGE_MODEL, pickle.dumps(["word"])), "is not a safetensors file"),
    "words in float": (tensors(lambda stored: stored.update(one=stored["one"].float()), LANGUAGE_MODEL), "one is float32"),
    "words in bfloat16": (
        tensors(lambda stored: stored.update(one=stored["one"].bfloat16()), LANGUAGE_MODEL),
        "language model of evil cannot be used",
    ),
    "as many letters as words": (
        words(lambda: sorted(chr(0x4E00 + n) * 3 for n in range(20_000))),
        "too many letters, and too many different ones",
    ),
    "a weight beyond all": (setting("language_model", "weight", to=10**400), "weight is 1000"),
    "a prior of three": (setting("language_model", "prior", to=[-1, -2, -3]), "prior is .*it must be 29 numbers"),
    "a prior that is a number": (setting("language_model", "prior", to=0), "prior is 0"),
    "a prior of certainties": (setting("language_model", "prior", to=[0.5] * 29), "prior is .* from -1000 to 0"),
    "a prior's weight": (setting("language_model", "prior_weight", to=-1), "prior_weight is -1"),
    "the phones' weight": (setting("language_model", "phone_weight", to=-1), "phone_weight is -1"),
    "no bonus": (setting("language_model", to={"weight": 1}), "it lacks 'word_bonus'"),
    "a true weight": (setting("language_model", "weight", to=True), "weight is True"),
    "words without a space": (
        setting("alphabet", "labels", to=[*LABELS[:27], "-", "_"]),
        "language model of evil cannot be used: the alphabet has no space",
    ),
    # calibration, in config.json
    "a list of calibrations": (setting("calibration", to=[1]), r"calibration is \[1\]; it must be an object"),
    "a calibration of numbers": (setting("calibration", to={"beam": 1}), "calibration of beam is 1; it must be an object"),
    "another decoder's": (setting("calibration", to={"x" * 9_999: {}}), "calibration has no decoder"),
    "certainty": (setting("calibration", to={"beam": {"offset": 10**400}}), "offset is 1000"),
    "no number": (setting("calibration", to={"beam": {"score": float("nan")}}), "score is nan; it must be a number"),
    "a number too many": (setting("calibration", to={"greedy": {"luck": 1}}), "luck"),
    # replay.safetensors
    "a pipe for a replay": (in_place(REPLAY, fifo), "replay.safetensors cannot be read: it is not an ordinary file"),
    "a terabyte of replay": (sparse(REPLAY, 10**12), "replay.safetensors cannot be read: it holds"),
    "a billion frames": (
        header({"posteriors.0.0": {"dtype": "U8", "shape": [10**9, 29], "data_offsets": [0, 29 * 10**9]}}, name=REPLAY),
        "is not the replay of a training",
    ),
    "a replay of endless frames": (told(frame_s=float("inf")), "is not the replay of a training"),
    "a replay of long frames": (told(frame_s=1), "do not belong together"),
    "a replay without clips": (told(names=[], texts=[]), "do not belong together"),
    "a replay that began after its end": (told(earlier=10**6), "is not the replay of a training"),
    "a replay of numbers": (told(texts=[7]), "is not the replay of a training"),
    "a replay of half a sign": (told(texts=["\udc00"]), "is not the replay of a training"),
    "a moment in words": (
        told(snapshots=[{"step": "<b>", "epoch": 1, "loss": 1.0}] * 2),
        "is not the replay of a training",
    ),
    "a million moments": (told(snapshots=[{"step": 1, "epoch": 1, "loss": 1.0}] * 10**6), "is not the replay of a training"),
    "a replay of one sample": (
        tensors(lambda stored: stored.update({"samples.0": torch.zeros(1, dtype=torch.int16)}), REPLAY),
        "do not belong together",
    ),
    "a replay of no frames": (
        tensors(lambda stored: stored.update({"posteriors.0.0": torch.zeros(0, 29, dtype=torch.uint8)}), REPLAY),
        "do not belong together",
    ),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names on this system")
@pytest.mark.parametrize("harm", HOSTILE)
def test_it_is_refused_in_a_sentence(harm, folder, little_memory, soon):
    change, telling = HOSTILE[harm]
    change(folder)
    with pytest.raises(CheckpointError, match=f"(?s){telling}") as refused:
        checkpoint.load(folder)
    said = str(refused.value)
    assert "evil" in said and said.endswith(".") and len(said) < 700 and "\n" not in said


def test_the_checkpoint_that_they_are_made_of_is_whole(folder):
    found = checkpoint.load(folder)
    assert found.language_model and len(found.replay.snapshots) == 2


def test_weights_by_way_of_links_are_read_since_the_hub_keeps_them_so(folder, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    assert torch.equal(checkpoint.load(linked).encoder.head.weight, checkpoint.load(folder).encoder.head.weight)


def test_a_history_of_a_thousand_epochs_and_an_infinite_loss_fit(folder):
    epoch = {"epoch": 1_000, "minutes": 100.1, "loss": float("inf"), "cer": float("nan"), "wer": 0.123456789012345}
    model = replace(checkpoint.load(folder), training={"history": [epoch] * 1_000})
    model.save(folder)
    assert (folder / CONFIG).stat().st_size < LARGEST_CONFIG / 4
    assert len(checkpoint.load(folder).training["history"]) == 1_000


def test_a_name_longer_than_any_file_is_no_checkpoint():
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        checkpoint.load("x" * 5_000 + "/y/z")
