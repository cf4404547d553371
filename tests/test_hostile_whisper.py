"""Whispers that somebody made to do harm: each is refused in a sentence, soon, in little memory, and nothing is run."""

import json
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from whispers import (
    ct2_folder,
    entry,
    hub_config,
    hub_folder,
    model_bin,
    quantised,
    small_encoder,
    text,
    variables,
    whisper_weights,
)

from asr_core import CheckpointError, whisper
from asr_core.ctranslate2 import CTranslate2Error, index
from asr_core.features import WHISPER

GOOD = variables(whisper_weights())
GOOD_BIN = model_bin(GOOD)
CONV = "encoder/conv1/weight"
BIAS = "encoder/conv1/bias"
KEEP = "encoder/layer_0/ffn/linear_0/weight"


def bin_of(**options) -> bytes:
    return model_bin(GOOD, **options)


def changed(name: str, raw: bytes) -> bytes:
    """The file with these bytes in place of a variable's."""
    return bin_of(entries=[raw if each == name else entry(each, array) for each, array in sorted(GOOD.items())])


def claiming(name: str, **claimed) -> bytes:
    return changed(name, entry(name, GOOD[name], **claimed))


def storing(name: str, array) -> bytes:
    return model_bin(GOOD | {name: array})


def eight_bits(**others) -> bytes:
    """In 8 bits, with other variables, or None for none."""
    made = quantised(GOOD, "int8") | {f"{KEEP}{name}": array for name, array in others.items()}
    return model_bin({name: array for name, array in made.items() if array is not None})


def of_rows(made: np.ndarray) -> bytes:
    return eight_bits(_scale=made)


MODEL_BINS = {
    # what it claims
    "four billion variables": (bin_of(count=2**32 - 1), "claims 4,294,967,295 variables; 10,000 are the most"),
    "ten thousand variables": (bin_of(count=10_000), r"a name that is no text: b'\\x00'"),
    "one variable too few": (bin_of(count=len(GOOD) - 1), "claims 1,852,112,933 aliases"),
    "four billion aliases": (bin_of(alias_count=2**32 - 1), "claims 4,294,967,295 aliases"),
    "an alias too many": (bin_of(alias_count=2), "ends too early: it should go on for 2 bytes more and does for 0"),
    "four gigabytes of a bias": (
        claiming(BIAS, dimensions=(2**30 - 1,), size=2**32 - 4),
        "ends too early: it should go on for",
    ),
    "a shape beyond its bytes": (
        claiming(BIAS, dimensions=(10**9,)),
        r"64 bytes; its shape \(1000000000,\) takes 4,000,000,000",
    ),
    "a shape beyond all numbers": (
        claiming(CONV, dimensions=(2**32 - 1,) * 4),
        r"its shape \(4294967295, .*\) takes 1,361,129,466,",
    ),
    "bytes beyond a shape": (claiming(BIAS, size=2**32 - 1), r"4,294,967,295 bytes; its shape \(16,\) takes 64"),
    "a shape of nothing": (claiming(BIAS, dimensions=(0, 2**32 - 1), size=0), "a name of 12,635 bytes"),
    "255 dimensions": (claiming(BIAS, rank=255), "gives 'encoder/conv1/bias' 255 dimensions; 4 are the most"),
    "a type that is none": (claiming(BIAS, type=6), "gives 'encoder/conv1/bias' the type 6, which is unknown"),
    "another type of the same size": (claiming(BIAS, type=3), "is int32 and has no scales that fit it"),
    "half precision for full": (claiming(BIAS, type=4), r"64 bytes; its shape \(16,\) takes 32"),
    # what it is
    "nothing": (b"", "ends too early: it should go on for 4 bytes more and does for 0"),
    "a pickle": (pickle.dumps({"a": 1}), "begins with version .*, and 6 is the one that is read: it is another file"),
    "a safetensors file": (struct.pack("<Q", 2) + b"{}", "begins with version 2"),
    "an older version": (bin_of(version=5), "begins with version 5"),
    "a newer version": (bin_of(version=7), "begins with version 7"),
    "another kind": (bin_of(kind="TransformerSpec"), "it holds a TransformerSpec of revision 3; what is read is"),
    "names of tomorrow": (
        bin_of(revision=4),
        "it holds a WhisperSpec of revision 4; what is read is a WhisperSpec of a revision up to 3",
    ),
    "more behind its end": (GOOD_BIN + b"\0", "has bytes behind its end: 1. It is damaged"),
    "itself twice": (GOOD_BIN * 2, "has bytes behind its end: 47,908"),
    # names
    "a name that is not UTF-8": (
        changed(BIAS, entry(b"encoder/\xff\xfe", GOOD[BIAS])),
        r"a name that is no text: b'encoder/\\xff",
    ),
    "a name with a line in it": (changed(BIAS, entry("a\nb", GOOD[BIAS])), r"a name that is no text: b'a\\nb"),
    "a name without its end": (
        changed(BIAS, struct.pack("<H", 3) + b"abc" + entry("", GOOD[BIAS])[3:]),
        "a name that is no text",
    ),
    "an empty name": (changed(BIAS, entry("", GOOD[BIAS])), "a name that is no text"),
    "a name of no bytes": (changed(BIAS, struct.pack("<H", 0) + entry("", GOOD[BIAS])[3:]), "a name of 0 bytes; 1 to 200"),
    "a name of 60,000 bytes": (changed(BIAS, entry("x" * 60_000, GOOD[BIAS])), "a name of 60,001 bytes"),
    "a name twice": (bin_of(entries=[entry(BIAS, GOOD[BIAS])] * 2), "holds 'encoder/conv1/bias' twice"),
    "a kind that is no text": (bin_of(kind=b"\xff"), "a name that is no text"),
    # aliases
    "an alias of itself": (bin_of(aliases=[("a", "a")]), "names 'a', which it does not hold"),
    "aliases of each other": (bin_of(aliases=[("a", "b"), ("b", "a")]), "names 'b', which it does not hold"),
    "an alias of nothing": (bin_of(aliases=[("a", "nothing")]), "names 'nothing'"),
    "an alias of a known name": (bin_of(aliases=[(BIAS, CONV)]), "holds 'encoder/conv1/bias' twice"),
    "an alias twice": (bin_of(aliases=[("a", BIAS), ("a", CONV)]), "holds 'a' twice"),
    "an alias of another shape": (
        model_bin({n: a for n, a in GOOD.items() if n != BIAS}, aliases=[(BIAS, CONV)]),
        r"'encoder/conv1/bias' has shape \(16, 80, 3\); shape \(16,\) is needed",
    ),
    # numbers
    "NaN": (storing(BIAS, GOOD[BIAS] * np.float32("nan")), "'encoder/conv1/bias' holds NaN or infinite values"),
    "infinity": (storing(BIAS, np.full(16, np.inf, np.float16)), "'encoder/conv1/bias' holds NaN or infinite values"),
    "scales of zero": (of_rows(np.zeros(64, np.float32)), "holds NaN or infinite values"),
    "scales that are no numbers": (of_rows(np.full(64, np.nan, np.float32)), "holds NaN or infinite values"),
    "a scale too many": (of_rows(np.ones(65, np.float32)), "is int8 and has no scales that fit it"),
    "one scale for all rows": (of_rows(np.float32(1)), "is int8 and has no scales that fit it"),
    "scales in whole numbers": (of_rows(np.ones(64, np.int32)), "is int8 and has no scales that fit it"),
    "no scales": (eight_bits(_scale=None), "is int8 and has no scales that fit it"),
    "no heads": (storing("encoder/num_heads", np.int16(0)), "heads is 0"),
    "heads in a list": (
        storing("encoder/num_heads", np.zeros(2, np.int16)),
        "number of its encoder's heads is not a whole number",
    ),
    "less than no heads": (storing("encoder/num_heads", np.int16(-2)), "heads is -2"),
    "heads that are no number": (
        storing("encoder/num_heads", np.float32("nan")),
        "number of its encoder's heads is not a whole number",
    ),
    "endless heads": (
        storing("encoder/num_heads", np.float16("inf")),
        "number of its encoder's heads is not a whole number",
    ),
    "a flat convolution": (
        storing(CONV, np.zeros(3, np.float32)),
        r"has shape \(3,\), and \(width, mel bins, 3\) is expected",
    ),
    "no convolution": (
        model_bin({"encoder/num_heads": np.int16(2)}, aliases=[]),
        "is not a whole Whisper: it has no 'encoder/conv1/weight'",
    ),
    "a layer too many": (storing("encoder/layer_9/x", np.zeros(1, np.float32)), "has 3 blocks of 16"),
    "a hundred thousand layers": (
        storing("encoder/layer_99999999999999999999/x", np.zeros(1, np.float32)),
        "has 3 blocks of 16",
    ),
}


@pytest.mark.parametrize("harm", MODEL_BINS)
def test_such_a_model_bin_is_refused_in_a_sentence(harm, tmp_path, little_memory, soon):
    data, telling = MODEL_BINS[harm]
    refused(f"ct2:{ct2_folder(tmp_path / 'evil', data)}", telling)


def refused(source: str, telling: str) -> None:
    encoder, before = small_encoder(), small_encoder().state_dict()
    with pytest.raises(CheckpointError, match=f"(?s){telling}") as error:
        whisper.load(encoder, WHISPER, source)
    said = str(error.value)
    assert "evil" in said and said.endswith(".") and len(said) < 700 and "\n" not in said
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_the_model_bin_that_they_are_made_of_is_whole(tmp_path):
    whisper.load(small_encoder(), WHISPER, f"ct2:{ct2_folder(tmp_path / 'good', GOOD_BIN)}")
    whisper.load(small_encoder(), WHISPER, f"ct2:{ct2_folder(tmp_path / 'eight', eight_bits())}")


def test_one_that_is_cut_anywhere_is_refused(tmp_path):
    made = {"a/weight": np.ones((2, 3), np.int8), "a/weight_scale": np.ones(2, np.float32), "b": np.int16(7)}
    data = model_bin(made, aliases=[("c", "a/weight")])
    path = tmp_path / "model.bin"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(CTranslate2Error, match="ends too early: it should go on for"):
            index(path)
    path.write_bytes(data)
    found = index(path)
    assert set(found.variables) == {*made, "c", "c_scale"} and torch.equal(found.weights("c"), torch.ones(2, 3))


def test_a_whole_whisper_that_is_cut_between_any_two_of_its_parts_is_refused(tmp_path):
    path, at = tmp_path / "model.bin", GOOD_BIN.index(text(min(GOOD)))
    for name, array in sorted(GOOD.items()):
        for cut in (at, at + 1, at + len(text(name)), at + len(entry(name, array)) - 1):
            path.write_bytes(GOOD_BIN[:cut])
            with pytest.raises(CTranslate2Error, match="ends too early"):
                index(path)
        at += len(entry(name, array))


def test_one_that_is_cut_after_its_index_was_read_is_told(tmp_path):
    path = ct2_folder(tmp_path / "evil", GOOD_BIN) / "model.bin"
    found = index(path)
    os.truncate(path, found.variables[BIAS].start + 10)
    with pytest.raises(CTranslate2Error, match=r"evil/model.bin became shorter while it was read"):
        found.weights(BIAS)
    path.unlink()
    with pytest.raises(CTranslate2Error, match=r"evil/model.bin cannot be read: No such file"):
        found.weights(BIAS)


def header(values: dict, data: bytes = b"", length: int | None = None) -> bytes:
    written = json.dumps(values).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + data


F16 = {"dtype": "F16", "shape": [16], "data_offsets": [0, 32]}
NAME = "model.encoder.conv1.bias"
WEIGHTS = {
    "a pickle": (pickle.dumps({"a": 1}), "is not a safetensors file, or is damaged"),
    "nothing": (b"", "is not a safetensors file, or is damaged"),
    "no JSON": (struct.pack("<Q", 8) + b"no JSON!", "is not a safetensors file, or is damaged"),
    "a header without an end": (header({}, length=2**63), "its header claims 9,223,372,036,854,775,808 bytes"),
    "a header of 50 MB": (header({"__metadata__": {"a": "x" * 50_000_000}}), "its header claims 50,000,0"),
    "offsets beyond the file": (header({NAME: {**F16, "data_offsets": [0, 10**15]}}), "is not a safetensors file"),
    "a shape whose size overflows": (
        header({NAME: {**F16, "shape": [2**32, 2**32]}}, bytes(32)),
        "is not a safetensors file",
    ),
    "overlapping tensors": (header({NAME: F16, "b": F16}, bytes(32)), "is not a safetensors file"),
    "a type that is none": (header({NAME: {**F16, "dtype": "OBJECT"}}, bytes(32)), "is not a safetensors file"),
    "no tensors": (header({}), "is not a whole Whisper: 'encoder.conv1.weight' is not there"),
}
CONFIGS = {
    "100 MB of JSON": (None, "its config.json cannot be read: it holds 100,000,000 bytes"),
    "a nest": (b"[" * 400_000, "its config.json is not JSON"),
    "UTF-16": ('{"model_type": "whisper"}'.encode("utf-16"), "its config.json is not JSON"),
    "a list": (b"[]", "its config.json is not that of a model"),
    "a width of 10^9": (hub_config(d_model=10**9), "width is 1000000000; it must be a whole number from 1 to 16,384"),
    "a googol of blocks": (hub_config(encoder_layers=10**100), r"blocks is 1000\d*\.\.\.\d*0"),
    "a number of 10,000 digits": (hub_config().replace(b'"d_model": 16', b'"d_model": 1' + b"0" * 10_000), "is not JSON"),
    "NaN heads": (hub_config(encoder_attention_heads=float("nan")), "heads is nan"),
    "a true width": (hub_config(d_model=True), "width is True"),
    "an endless kind": (hub_config(model_type="x" * 900_000), r"is a 'x+\.\.\.x+' model"),
    "half a sign for a kind": (hub_config(model_type="\ud800"), r"is a '\\ud800' model"),
}


@pytest.mark.parametrize("harm", WEIGHTS)
def test_such_safetensors_are_refused_in_a_sentence(harm, tmp_path, little_memory, soon):
    data, telling = WEIGHTS[harm]
    (hub_folder(tmp_path / "evil") / "model.safetensors").write_bytes(data)
    refused(f"hf:{tmp_path / 'evil'}", telling)


@pytest.mark.parametrize("harm", CONFIGS)
def test_such_a_config_is_refused_in_a_sentence(harm, tmp_path, little_memory, soon):
    data, telling = CONFIGS[harm]
    path = hub_folder(tmp_path / "evil") / "config.json"
    os.truncate(path, 100_000_000) if data is None else path.write_bytes(data)
    refused(f"hf:{tmp_path / 'evil'}", telling)


FILES = {"ct2": (ct2_folder, "model.bin"), "hf": (hub_folder, "model.safetensors"), "hf config": (hub_folder, "config.json")}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names on this system")
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_file_or_has_no_end_is_refused_in_a_sentence(kind, tmp_path, little_memory, soon):
    make, name = FILES[kind]
    path = make(tmp_path / "evil") / name
    source = f"{kind.split()[0]}:{path.parent}"
    os.truncate(path, 10**12)
    refused(source, "cannot be read: it holds 1,000,000,000,000 bytes, and at most")
    for make in (os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink() if path.is_file() or path.is_symlink() or path.is_fifo() else os.rmdir(path)
        make(path)
        refused(
            source, "cannot be read: it is not an ordinary file" if not path.is_dir() else "cannot be read|not an ordinary"
        )
    path.unlink()
    refused(source, "holds no")
    path.symlink_to(path)
    refused(source, "cannot be read: Too many levels of symbolic links")


def test_a_folder_that_is_not_there_is_told():
    for source in ("ct2:evil", "ct2:", "ct2:" + "evil" * 5_000):
        with pytest.raises(CheckpointError, match="names no folder"):
            whisper.load(small_encoder(), WHISPER, source)
    with pytest.raises(CheckpointError, match="is no Hub id"):
        whisper.load(small_encoder(), WHISPER, "hf:a b/c")


def test_a_large_file_takes_little_memory_where_little_is_needed(tmp_path, little_memory, soon):
    """Three gigabytes of a decoder, which are passed over."""
    path = ct2_folder(tmp_path / "large", b"") / "model.bin"
    large = [entry("decoder/x", np.zeros(0, np.float32), dimensions=(750_000_000,), size=3 * 10**9)]
    whole = bin_of(entries=[entry(name, array) for name, array in sorted(GOOD.items())] + large, aliases=[])
    with open(path, "wb") as file:
        file.write(whole[:-4])
        file.seek(3 * 10**9, os.SEEK_CUR)  # a hole
        file.write(whole[-4:])
    whisper.load(small_encoder(), WHISPER, f"ct2:{path.parent}")
    assert torch.equal(index(path).weights(BIAS), torch.from_numpy(GOOD[BIAS]))


def test_the_safetensors_that_they_are_made_of_are_whole(tmp_path):
    whisper.load(small_encoder(), WHISPER, f"hf:{hub_folder(tmp_path / 'good')}")
    assert NAME in load_tensors((tmp_path / "good" / "model.safetensors").read_bytes())
