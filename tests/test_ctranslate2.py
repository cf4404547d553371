"""Against CTranslate2 itself: what its converter writes, and what its encoder makes of the weights that we begin with.

Left out where it is not installed (pip install ctranslate2), and the second part where CTC_LENS_WHISPERS does not name the
folder with the two of docs/whisper.md in it."""

import copy
import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_whisper import after_the_blocks, their_whisper
from whispers import ct2_folder, model_bin, quantised, variables

from asr_core import audio, whisper
from asr_core.ctranslate2 import index
from asr_core.features import WHISPER, LogMel
from asr_core.models import build_encoder
from asr_core.models.whisper_ctc import positions
from asr_core.training.config import PRESETS

ROOT = Path(__file__).parent.parent
FOLDERS = {"base": "base", "tiny": "tiny.en"}  # preset -> folder
REAL = os.environ.get("CTC_LENS_WHISPERS")


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: there is nothing to compare with")


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "int16", "int8", "int8_float16", "int8_bfloat16"])
@pytest.mark.parametrize("fresh", [False, True], ids=["any weights", "norms of ones, stored once"])
def test_its_converter_writes_what_the_writer_of_these_tests_writes(theirs, tmp_path, kind, fresh):
    transformers = pytest.importorskip("transformers")
    from ctranslate2.converters.transformers import WhisperLoader

    model = their_whisper(transformers)
    if fresh:
        model = transformers.WhisperForConditionalGeneration(model.config).eval()
    made = variables(copy.deepcopy(model.state_dict()))
    spec = WhisperLoader().get_model_spec(model)
    spec.register_vocabulary([f"token {number}" for number in range(model.config.vocab_size)])
    spec.validate()
    spec.optimize(quantization=kind)  # in place
    (tmp_path / "theirs").mkdir()
    spec.save(str(tmp_path / "theirs"))
    found = index(tmp_path / "theirs" / "model.bin")
    expected = index(ct2_folder(tmp_path / "ours", model_bin(quantised(made, kind))) / "model.bin")
    encoder = {name for name in expected.variables if name.startswith("encoder/")}
    assert {name for name in found.variables if name.startswith("encoder/")} == encoder
    assert all(torch.equal(found.numbers(name), expected.numbers(name)) for name in encoder)
    assert not fresh or len({variable.start for variable in found.variables.values()}) < len(found.variables)


@pytest.mark.skipif(not REAL, reason="CTC_LENS_WHISPERS does not say where the Whispers of docs/whisper.md are")
@pytest.mark.parametrize("preset", FOLDERS)
def test_the_weights_that_trainings_begin_with_are_read_as_it_reads_them(theirs, preset):
    folder = Path(REAL) / FOLDERS[preset]
    pinned = re.findall(r"[0-9a-f]{64}", (ROOT / "docs" / "whisper.md").read_text())
    assert hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest() in pinned
    encoder = build_encoder(PRESETS[preset].encoder).eval()
    whisper.load(encoder, WHISPER, f"ct2:{folder}")
    samples = torch.from_numpy(audio.load(ROOT / "examples" / "1272-135031-0008.mp3", 16_000))
    features = LogMel(WHISPER)(samples)  # (T, M)
    features = features[: len(features) // 2 * 2]
    model = theirs.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    encoded = model.encode(theirs.StorageView.from_array(features.T[None].contiguous().numpy()))
    expected = torch.from_numpy(np.array(encoded))[0]  # (T / 2, D), after the norm that serves the decoder
    stored = index(folder / "model.bin")
    gamma, beta = (stored.weights(f"encoder/layer_norm/{name}") for name in ("gamma", "beta"))
    found = torch.nn.functional.layer_norm(after_the_blocks(encoder, features), gamma.shape, gamma, beta)
    assert float((found - expected).abs().mean()) < 1e-3 < 0.5 < float(expected.abs().mean())
    sinusoids = stored.weights("encoder/position_encodings/encodings")  # (1500, D)
    assert torch.allclose(positions(1_500, len(gamma), sinusoids), sinusoids, atol=1e-3)  # float16
