"""The exported encoder against torch, in onnxruntime, at lengths of its own."""

import json
import sys

import numpy as np
import pytest
import torch
from synthetic import MELS, tiny_model

from asr_core.onnx_export import LENGTHS, NEEDED, OnnxError, export
from asr_core.text import Alphabet

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing can be exported")


@pytest.fixture(scope="module", params=["attention_unet", "whisper_ctc"])
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return path, export(model, path)


def test_fifty_lengths_were_compared_before_it_was_written(exported):
    path, made = exported
    assert len(LENGTHS) == 50 and {1, 2, 3} < set(LENGTHS) and {length % 8 for length in LENGTHS} == set(range(8))
    assert made.worst < 1e-4 and made.size == path.stat().st_size
    assert made.torch_s > 0 and made.onnx_s > 0


def test_any_other_length_gives_what_the_encoder_gives(exported, model):
    session = onnxruntime.InferenceSession(exported[0])
    for frames in {4, 6, 10, 62, 63, 64, 65, 127, 128, 129, 3_201} - set(LENGTHS):
        features = torch.randn(1, frames, MELS, generator=torch.Generator().manual_seed(frames))
        (log_probs,) = session.run(["log_probs"], {"features": features.numpy()})
        with torch.no_grad():
            expected = model.encode(features[0])[:, : len(model.alphabet)].log_softmax(-1)  # without the phones
        assert log_probs.shape == (1, *expected.shape)
        assert np.abs(log_probs[0] - expected.numpy()).max() < 1e-4


def test_the_file_says_how_its_output_is_read(exported, model):
    told = onnxruntime.InferenceSession(exported[0]).get_modelmeta().custom_metadata_map
    assert Alphabet(tuple(json.loads(told["labels"])), int(told["blank"])) == model.alphabet
    assert float(told["frame_duration_s"]) == model.frame_s
    assert json.loads(told["features"])["hop_length"] == model.features.hop_length


def test_what_differs_is_not_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr("asr_core.onnx_export._made", lambda graph, model: b"")
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *arguments, **options: None)
    monkeypatch.setattr("asr_core.onnx_export._difference", lambda *arguments: 0.5)
    with pytest.raises(OnnxError, match="differs from torch by up to 0.5"):
        export(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_without_the_libraries_a_sentence_asks_for_them(model, tmp_path, monkeypatch, run, checkpoint_folder):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = run("export-onnx", checkpoint_folder, tmp_path / "model.onnx")
    assert (code, err.strip()) == (2, NEEDED)
