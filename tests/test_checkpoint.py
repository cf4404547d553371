import errno
import json
import os
import pickle
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from synthetic import TINY, tiny_model

from asr_core import checkpoint
from asr_core.checkpoint import CheckpointError
from asr_core.files import write_atomically
from asr_core.text import Alphabet

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.mark.parametrize("name", sorted(TINY))
def test_what_is_saved_comes_back(name, tmp_path):
    model = tiny_model(name)
    model.save(tmp_path / "model")
    again = checkpoint.load(tmp_path / "model")
    assert (again.name, again.alphabet, again.features) == ("model", model.alphabet, model.features)
    assert (again.training, again.metrics) == (model.training, model.metrics)
    assert again.encoder.config == model.encoder.config
    assert again.frame_s == model.frame_s
    assert not again.encoder.training
    loaded = again.encoder.state_dict()
    for key, tensor in model.encoder.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], tensor.half().float())


def test_a_checkpoint_is_two_files_one_of_them_readable(checkpoint_folder):
    assert sorted(path.name for path in checkpoint_folder.iterdir()) == [CONFIG, WEIGHTS]
    config = json.loads((checkpoint_folder / CONFIG).read_text())
    assert config["encoder"] == {**config["encoder"], **TINY["attention_unet"]}
    assert Alphabet(tuple(config["alphabet"]["labels"]), config["alphabet"]["blank"]) == Alphabet()


def test_saving_again_leaves_no_temporary_files(checkpoint_folder):
    before = (checkpoint_folder / WEIGHTS).read_bytes()
    tiny_model().save(checkpoint_folder)
    tiny_model().save(checkpoint_folder)
    assert sorted(path.name for path in checkpoint_folder.iterdir()) == [CONFIG, WEIGHTS]
    assert (checkpoint_folder / WEIGHTS).read_bytes() == before


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def set_config(*keys: str, to):
    """A change of one value of config.json."""

    def change(folder):
        config = json.loads((folder / CONFIG).read_text())
        inner = config
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        (folder / CONFIG).write_text(json.dumps(config))

    return change


def edit_weights(edit):
    def change(folder):
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS)

    return change


def edit_bytes(name: str, edit):
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


DAMAGE = {
    "truncated weights": (edit_bytes(WEIGHTS, lambda data: data[:-100]), "safetensors"),
    "empty weights": (edit_bytes(WEIGHTS, lambda data: b""), "safetensors"),
    "flipped header": (edit_bytes(WEIGHTS, lambda data: data[:9] + bytes([data[9] ^ 255]) + data[10:]), "safetensors"),
    "flipped header length": (edit_bytes(WEIGHTS, lambda data: bytes([data[0] ^ 255]) + data[1:]), "safetensors"),
    "a pickle": (edit_bytes(WEIGHTS, lambda data: pickle.dumps({"weight": [1.0] * 100})), "not a safetensors file"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"no {WEIGHTS}"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), f"no {CONFIG}"),
    "half a config": (edit_bytes(CONFIG, lambda data: data[: len(data) // 2]), "not JSON"),
    "binary config": (edit_bytes(CONFIG, lambda data: b"\xff\xfe\x00"), "not JSON"),
    "bottomless config": (edit_bytes(CONFIG, lambda data: b"[" * 100_000), "not JSON"),
    "a list for a config": (edit_bytes(CONFIG, lambda data: b"[1]"), "format None"),
    "another format": (set_config("format", to=2), "format 2; this version reads format 1"),
    "unknown feature option": (set_config("features", "window", to="hann"), r"no option \['window'\]. It has: .*hop_length"),
    "unknown encoder option": (set_config("encoder", "layers", to=3), r"no option \['layers'\]"),
    "unknown encoder": (set_config("encoder", "name", to="whisper"), "no encoder called 'whisper'"),
    "no alphabet": (set_config("alphabet", to={}), "lacks 'labels'"),
    "blank outside the alphabet": (set_config("alphabet", "blank", to=29), "blank is token 29"),
    "short alphabet": (set_config("alphabet", to={"labels": ["a", "b", "_"], "blank": 2}), "contradicts itself"),
    "another vocabulary": (set_config("encoder", "vocabulary", to=30), "contradicts itself.*30 outputs"),
    "another number of mels": (set_config("features", "n_mels", to=80), "contradicts itself.*80 bins"),
    "another width": (set_config("encoder", "hidden", to=32), "has shape"),
    "a missing tensor": (edit_weights(lambda tensors: tensors.pop("head.bias")), "the file lacks the tensor 'head.bias'"),
    "a strange tensor": (edit_weights(lambda tensors: tensors.update(x=torch.zeros(1))), "does not know the tensor 'x'"),
    "another shape": (edit_weights(lambda tensors: tensors.update({"head.bias": torch.zeros(7)})), r"\(7,\).*\(29,\)"),
    "NaN": (edit_weights(lambda tensors: tensors["head.weight"].fill_(float("nan"))), "'head.weight' holds NaN"),
    # Configurations that fit the weights, or fail before they are compared, and could never transcribe.
    "a negative width": (set_config("encoder", "width", to=-16), CONFIG),
    "a width beyond any memory": (set_config("encoder", "width", to=1_000_000), CONFIG),
    "heads that do not divide": (set_config("encoder", "heads", to=3), CONFIG),
    "phones after the last block": (set_config("encoder", "phone_block", to=9), CONFIG),
    "no hop": (set_config("features", "hop_length", to=0), CONFIG),
    "a hop in words": (set_config("features", "hop_length", to="ten"), CONFIG),
    "a deviation of zero": (set_config("features", "std", to=0.0), CONFIG),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_used_is_refused_with_the_reason(damage, checkpoint_folder, little_memory):
    change, telling = DAMAGE[damage]
    change(checkpoint_folder)
    with pytest.raises(CheckpointError, match=f"(?s){telling}") as refused:
        checkpoint.load(checkpoint_folder)
    assert checkpoint_folder.name in str(refused.value)


def test_nothing_is_ever_unpickled(checkpoint_folder):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(checkpoint_folder / "sprung"),))

    for write in (pickle.dump, torch.save):
        with open(checkpoint_folder / WEIGHTS, "wb") as file:
            write({"weight": Trap()}, file)
        with pytest.raises(CheckpointError):
            checkpoint.load(checkpoint_folder)
    assert not (checkpoint_folder / "sprung").exists()


@pytest.mark.parametrize(
    "source",
    ["nowhere", "a/b/c", "/no/such/folder", "../nowhere", "a b/c", "runs/fast.", "-x/model", "my--model/x", "a..b/c"],
)
def test_neither_a_folder_nor_a_hub_id_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=re.escape(source)):
        checkpoint.load(source)


def test_a_hub_id_that_cannot_be_fetched_is_refused():
    with pytest.raises(
        CheckpointError, match="no folder someone/model here.*could not be fetched from the Hub.*the network"
    ):
        checkpoint.load("someone/model")  # the tests run offline
