"""A tiny bundle with random weights through torchaudio's own loading, from a web server on this machine."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from shelf import shelf as our_shelf
from synthetic import RATE, speech_like
from torchaudio.pipelines import Wav2Vec2ASRBundle

from asr_core import CheckpointError, Transcriber, align, transcribe_many
from asr_core.adapters import torchaudio_bundle
from asr_core.adapters.samples import CONTEXT_S, WINDOW_S

LABELS = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H._labels
SIZES = {
    "extractor_mode": "group_norm", "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    "extractor_conv_bias": False, "encoder_embed_dim": 16, "encoder_projection_dropout": 0.0, "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2, "encoder_num_layers": 1, "encoder_num_heads": 2, "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 16, "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0,
    "encoder_layer_norm_first": False, "encoder_layer_drop": 0.0, "aux_num_out": 1 + len(LABELS),
}  # fmt: skip


def weights() -> bytes:
    """As fairseq left them: with three outputs too many, which torchaudio takes away."""
    torch.manual_seed(0)
    state = torchaudio.models.wav2vec2_model(**SIZES).state_dict()
    for name in ("aux.weight", "aux.bias"):
        state[name] = torch.cat([3 * state[name][:1], torch.zeros_like(state[name][:3]), 3 * state[name][1:]])
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """torchaudio has two more bundles, whose weights are on a server of ours; the cache is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name, normalised in {"TINY_ASR": False, "TINY_ASR_NORMALISED": True}.items():
        bundle = Wav2Vec2ASRBundle("tiny.pth", SIZES, RATE, normalised, "Wav2Vec2", LABELS)
        monkeypatch.setattr(torchaudio.pipelines, name, bundle, raising=False)
    with our_shelf() as (address, shelf):
        shelf.files["tiny.pth"] = weights()
        monkeypatch.setattr(torchaudio_bundle, "WEIGHTS_URL", address)
        yield shelf


@pytest.mark.parametrize("name", ["TINY_ASR", "TINY_ASR_NORMALISED"])
def test_it_says_what_the_library_says_and_the_download_is_cached(name, shelf, tmp_path, capsys):
    transcriber = Transcriber.from_checkpoint(f"torchaudio:{name}")
    assert "tiny.pth" in capsys.readouterr().err  # the progress
    model = getattr(torchaudio.pipelines, name).get_model()
    samples = speech_like(3.0)
    with torch.no_grad():
        expected = model(torch.from_numpy(samples)[None])[0][0].log_softmax(-1)  # (T', V)
    heard = transcriber.transcribe((RATE, samples))
    assert torch.allclose(heard.emission.log_probs, expected, atol=1e-5)
    assert heard.emission.frame_s == 0.02
    assert (tmp_path / "torch/hub/checkpoints/tiny.pth").read_bytes() == shelf.files["tiny.pth"]
    assert Transcriber.from_checkpoint(f"torchaudio:{name}") and shelf.asked == ["tiny.pth"]
    assert transcriber.model.card.endswith(f"torchaudio.pipelines.{name}.html") and transcriber.model.licence == ""


def test_the_licence_is_what_torchaudios_documentation_names():
    licences = {"WAV2VEC2_ASR_BASE_960H": "MIT", "VOXPOPULI_ASR_BASE_10K_DE": "CC BY-NC 4.0"}
    assert {name: torchaudio_bundle.licence_of(getattr(torchaudio.pipelines, name)) for name in licences} == licences


def test_its_words_lie_between_bars_and_a_typed_sentence_is_spelt_in_capitals(shelf):
    transcriber = Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    heard = transcriber.transcribe((RATE, speech_like(3.0)))
    alphabet = heard.emission.alphabet
    assert (alphabet.blank, alphabet.labels[1], alphabet.space) == (0, " ", 1)
    assert heard.text and "|" not in heard.text
    aligned = align(heard, "What’s he saying")
    assert aligned.aligned.text == "WHAT'S HE SAYING"
    assert aligned.loss <= aligned.path_cost + 1e-3
    assert heard.sound.features.shape == (301, 80)  # the view's spectrogram is the same as with our own models


def test_a_long_recording_is_read_in_windows(shelf):
    transcriber = Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    model = transcriber.model
    seconds = 2 * WINDOW_S + CONTEXT_S + 3.3
    samples = np.tile(speech_like(4.0), 20)[: round(seconds * RATE)]
    heard = transcriber.transcribe((RATE, samples))
    with torch.no_grad():
        whole = model.encode(torch.from_numpy(samples)).log_softmax(-1)
    assert heard.emission.log_probs.shape == whole.shape
    # Away from its window's edges a frame is that of the window that holds it, heard alone.
    part = samples[round((WINDOW_S - CONTEXT_S) * RATE) : round((2 * WINDOW_S + CONTEXT_S) * RATE)]
    with torch.no_grad():
        window = model.encode(torch.from_numpy(part)).log_softmax(-1)
    first, kept = round(CONTEXT_S / 0.02), round(WINDOW_S / 0.02)
    assert torch.allclose(heard.emission.log_probs[kept : 2 * kept], window[first : first + kept], atol=1e-5)


def test_live_captions_and_many_recordings_work_as_with_ours(shelf, clip_path):
    transcriber = Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    samples = speech_like(7.0)
    stream = transcriber.stream()
    for start in range(0, len(samples), 4_000):
        stream.feed(samples[start : start + 4_000], RATE)
    spoken = stream.finish()
    assert abs(len(spoken.path) - 350) <= 1
    assert spoken.emission.log_probs.logsumexp(-1).abs().max() < 1e-4
    (_, one), (_, other) = transcribe_many(transcriber, [clip_path, clip_path], workers=0)
    assert one.text == other.text == transcriber.transcribe(clip_path).text


def test_an_interrupted_download_goes_on_where_it_stopped(shelf, tmp_path):
    content, shelf.most = shelf.files["tiny.pth"], 10_000
    with pytest.raises(CheckpointError, match=r"10,000 of .* bytes.*what has come of it is kept"):
        Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    shelf.most = 2**40
    Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    assert shelf.asked == ["tiny.pth", "tiny.pth bytes=10000-"]
    folder = tmp_path / "torch/hub/checkpoints"
    assert [path.name for path in folder.iterdir()] == ["tiny.pth"] and (folder / "tiny.pth").read_bytes() == content


def test_what_was_whole_before_it_was_named_is_taken(shelf, tmp_path):
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / "tiny.pth.partial").write_bytes(shelf.files["tiny.pth"])
    Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    assert shelf.asked == [f"tiny.pth bytes={len(shelf.files['tiny.pth'])}-"]


def test_refusals(shelf, tmp_path, monkeypatch, run):
    with pytest.raises(CheckpointError, match="no CTC model 'HUBERT_BASE'. It has: .*WAV2VEC2_ASR_BASE_960H"):
        Transcriber.from_checkpoint("torchaudio:HUBERT_BASE")
    assert "MMS_FA" not in torchaudio_bundle.names()
    shelf.files = {}
    with pytest.raises(CheckpointError, match="answers 404"):
        Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    monkeypatch.setattr(torchaudio_bundle, "WEIGHTS_URL", "http://127.0.0.1:9/")
    with pytest.raises(CheckpointError, match="could not be fetched: .*refused.*Check the network"):
        Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    code, _, err = run("transcribe", tmp_path / "x.wav", "--checkpoint", "torchaudio:TINY_ASR")
    assert code == 2 and "Check the network" in err


def test_a_file_that_is_more_than_weights_is_never_run(shelf, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    for content in ({"weight": Trap()}, Trap()):
        file = io.BytesIO()
        torch.save(content, file)
        path = Path(torch.hub.get_dir()) / "checkpoints" / "tiny.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
        with pytest.raises(CheckpointError, match="damaged, or holds more than weights. Delete it"):
            Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    path.write_bytes(b"not a file of torch at all")
    with pytest.raises(CheckpointError, match="damaged"):
        Transcriber.from_checkpoint("torchaudio:TINY_ASR")
    assert not (tmp_path / "sprung").exists()
