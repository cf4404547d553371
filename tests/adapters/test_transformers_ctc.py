"""Small models with random weights, of the real architectures, saved as the library saves them, against its own forward."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import RATE, speech_like

from asr_core import AudioError, CheckpointError, Transcriber, align

transformers = pytest.importorskip("transformers", reason="transformers is not installed: models of hf: cannot be read")
VOCABULARY = {
    token: index for index, token in enumerate(("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
}
BODY = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": len(VOCABULARY), "pad_token_id": 0,
}  # fmt: skip
CONVOLVED = BODY | {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
MODELS = {
    "Wav2Vec2ForCTC": (
        lambda: transformers.Wav2Vec2Config(**CONVOLVED),
        lambda: transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False),
    ),
    "HubertForCTC": (
        lambda: transformers.HubertConfig(**CONVOLVED, **LAYER_NORM),
        lambda: transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True),
    ),
    "Wav2Vec2BertForCTC": (
        lambda: transformers.Wav2Vec2BertConfig(**BODY, output_hidden_size=16),
        lambda: transformers.SeamlessM4TFeatureExtractor(),
    ),
}  # fmt: skip


def save(
    folder: Path, architecture: str = "Wav2Vec2ForCTC", vocabulary: dict[str, int] = VOCABULARY, **changes
) -> torch.nn.Module:
    """As somebody publishes a model: weights, configuration, tokens, and how it hears."""
    torch.manual_seed(0)
    config, extractor = (make() for make in MODELS[architecture])
    config.update(changes)
    model = getattr(transformers, architecture)(config).eval()
    model.lm_head.weight.data *= 20  # or all tokens are as probable as each other
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Wav2Vec2ForCTC; not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    save(folder)
    return folder


@pytest.fixture
def copy(published, tmp_path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "model"))


@pytest.mark.parametrize("architecture", MODELS)
def test_it_says_what_the_library_says(architecture, tmp_path):
    model = save(tmp_path, architecture)
    transcriber = Transcriber.from_checkpoint(f"hf:{tmp_path}")
    samples = speech_like(3.0)
    heard = transcriber.transcribe((RATE, samples))
    inputs = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)(samples, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    assert torch.allclose(heard.emission.log_probs, logits[0].log_softmax(-1), atol=1e-5)
    assert heard.emission.frame_s == 0.02
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert heard.text == " ".join(tokenizer.decode(logits[0].argmax(-1)).split()) != ""


def test_sentences_windows_and_live_captions(published):
    transcriber = Transcriber.from_checkpoint(f"hf:{published}")
    heard = transcriber.transcribe((RATE, np.tile(speech_like(4.0), 12)))
    assert len(heard.path) == pytest.approx(48 * 50, abs=1) and len(heard.words) > 10
    short = transcriber.transcribe((RATE, speech_like(3.0)), "beam")
    assert align(short, "it’s said").aligned.text == "IT'S SAID"
    stream = transcriber.stream()
    stream.feed(speech_like(3.0), RATE)
    assert len(stream.finish().path) == len(short.path)
    with pytest.raises(AudioError):
        transcriber.transcribe((RATE, np.zeros(RATE, np.float32)))


def test_phones_without_a_separator_are_words_of_their_own(tmp_path):
    phones = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "h": 4, "ə": 5, "l": 6, "oʊ": 7}
    save(tmp_path, vocabulary=phones, vocab_size=8)
    alphabet = Transcriber.from_checkpoint(f"hf:{tmp_path}").model.alphabet
    assert alphabet.decode(alphabet.encode("h ə l oʊ")).split() == ["h", "ə", "l", "oʊ"]


def test_outputs_that_have_no_token_have_a_name_all_the_same(tmp_path):
    save(tmp_path, vocab_size=len(VOCABULARY) + 2)
    assert Transcriber.from_checkpoint(f"hf:{tmp_path}").model.alphabet.labels[-2:] == ("<unused 32>", "<unused 33>")


def set_config(**changes):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def without_head(folder: Path) -> None:
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**CONVOLVED)).save_pretrained(folder)


def pickled(folder: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "sprung"),))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    torch.save(Trap(), folder / "pytorch_model.bin")


OWN_CODE = {"AutoConfig": "config.Mine", "AutoModelForCTC": "model.Mine"}
WRONG = {
    "pickled weights": (pickled, "holds no safetensors, and pickled weights, which may hold code, are not read"),
    "a pickle by another name": (lambda f: (f / "model.safetensors").write_bytes(pickle.dumps([1])), "cannot load"),
    "another kind of model": (set_config(model_type="bert"), "is a bert model, which has no CTC head"),
    "a model that was only pre-trained": (without_head, "holds no weights for its CTC head .lm_head.bias."),
    "code of its own": (set_config(model_type="mine", auto_map=OWN_CODE), "cannot load"),
    "no blank": (set_config(pad_token_id=None), "which token is the blank"),
    "another's configuration": (set_config(vocab_size=40), "cannot load|holds no weights|files do not fit"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "cannot load"),
    "no tokens": (lambda f: [(f / name).unlink() for name in ("vocab.json", "tokenizer_config.json")], "cannot load"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_used_is_refused_in_a_sentence(wrong, copy):
    change, telling = WRONG[wrong]
    (copy / "model.py").write_text(f"open({str(copy / 'sprung')!r}, 'w')")
    (copy / "config.py").write_text(f"open({str(copy / 'sprung')!r}, 'w')")
    change(copy)
    with pytest.raises(CheckpointError, match=telling) as refused:
        Transcriber.from_checkpoint(f"hf:{copy}")
    assert str(copy) in str(refused.value) and "\n" not in str(refused.value)
    assert not (copy / "sprung").exists()


def test_card_and_licence_are_those_beside_the_weights(copy):
    model = Transcriber.from_checkpoint(f"hf:{copy}").model
    assert (model.name, model.card, model.licence) == (f"hf:{copy.name}", "", "")
    (copy / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    model = Transcriber.from_checkpoint(f"hf:{copy}").model
    assert (model.card, model.licence) == (str(copy / "README.md"), "apache-2.0")


def test_without_the_library_a_sentence_asks_for_it(monkeypatch, published):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match="needs the library transformers.*pip install transformers"):
        Transcriber.from_checkpoint(f"hf:{published}")


@pytest.mark.parametrize(
    ("name", "telling"), [("someone/model", "could not be fetched from the Hub.*network"), ("a b/c/d", "no Hub id")]
)
def test_what_is_neither_here_nor_on_the_hub(name, telling):
    with pytest.raises(CheckpointError, match=telling):
        Transcriber.from_checkpoint(f"hf:{name}")


def test_a_model_of_the_hub_is_fetched_without_its_pickles(online, published, clip_path, tmp_path):
    online.models["somebody/letters"] = {file.name: file.read_bytes() for file in published.iterdir()}
    online.models["somebody/letters"]["pytorch_model.bin"] = b"a pickle"
    fetched = online("transcribe", clip_path, "--checkpoint", "hf:somebody/letters")
    expected = Transcriber.from_checkpoint(f"hf:{published}").transcribe(clip_path)
    assert (fetched.returncode, fetched.stdout) == (0, f"{expected.text}\n")
    kept = {path.name for path in (tmp_path / "cache").rglob("*") if path.suffix}
    assert "model.safetensors" in kept and "pytorch_model.bin" not in kept
    missing = online("transcribe", clip_path, "--checkpoint", "hf:somebody/missing")
    assert missing.returncode == 2 and "There is no model somebody/missing on the Hub" in missing.stderr
