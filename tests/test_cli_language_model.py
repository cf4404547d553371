"""python -m asr_core language-model, tune, and --decoder, from text to a checkpoint that heeds it."""

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import tiny_model, toy_corpus, write_manifest

from asr_core import checkpoint
from asr_core.checkpoint import LANGUAGE_MODEL, CheckpointError
from asr_core.kneser_ney import estimate
from asr_core.language_model import load

VERSES = Path(__file__).parent / "verses.txt"


@pytest.fixture
def model_with_words(tmp_path) -> Path:
    words = estimate(VERSES.read_text().splitlines(), 30, 100, 100)
    folder = tmp_path / "wordy"
    replace(tiny_model(), language_model=replace(words, weight=0.5, word_bonus=1.5)).save(folder)
    return folder


def test_plain_and_compressed_text_make_the_same_model(run, tmp_path):
    (tmp_path / "v.txt.xz").write_bytes(lzma.compress(VERSES.read_bytes()))
    files = [tmp_path / "plain", tmp_path / "compressed"]
    for source, out in zip((VERSES, tmp_path / "v.txt.xz"), files, strict=True):
        code, said, _ = run("language-model", source, "--out", out, "--vocabulary", 20, "--perplexity-of", VERSES)
        assert code == 0 and "20 words" in said and "perplexity" in said
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(load(files[0]).words) == 20


@pytest.mark.parametrize("bad", ["nowhere.txt", "broken.xz", "latin.txt", "empty.txt"])
def test_text_that_cannot_be_read_gets_a_sentence(run, tmp_path, bad):
    (tmp_path / "broken.xz").write_bytes(b"no archive")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    code, _, said = run("language-model", tmp_path / bad, "--out", tmp_path / "lm")
    assert code == 2 and said.strip().splitlines()[-1].endswith(".") and "Traceback" not in said
    assert not (tmp_path / "lm").exists()


def test_a_checkpoint_carries_its_words_and_their_weights(model_with_words):
    loaded = checkpoint.load(model_with_words)
    assert (loaded.language_model.weight, loaded.language_model.word_bonus) == (0.5, 1.5)
    assert "malt" in loaded.language_model.words


MEANINGLESS = [{"weight": -1}, {"weight": "x"}, {"prior": [-1]}, {"prior_weight": "x"}, {"phone_weight": None}, 7]


@pytest.mark.parametrize("weights", MEANINGLESS)
def test_weights_that_mean_nothing_are_refused(model_with_words, weights):
    config = json.loads((model_with_words / "config.json").read_text())
    if isinstance(weights, dict):
        weights = {**config["language_model"], **weights}
    (model_with_words / "config.json").write_text(json.dumps({**config, "language_model": weights}))
    with pytest.raises(CheckpointError, match=r"language model of wordy .*\.$"):
        checkpoint.load(model_with_words)


def test_a_checkpoint_from_before_there_were_a_prior_and_phones_is_read(model_with_words):
    config = json.loads((model_with_words / "config.json").read_text())
    config["language_model"] = {"weight": 0.5, "word_bonus": 1.5}
    (model_with_words / "config.json").write_text(json.dumps(config))
    found = checkpoint.load(model_with_words).language_model
    assert (found.weight, found.word_bonus, found.prior_weight, found.prior) == (0.5, 1.5, 0.0, ())
    assert found.phone_weight == 0.0


def test_a_damaged_language_model_is_named_when_the_checkpoint_is_loaded(model_with_words):
    (model_with_words / LANGUAGE_MODEL).write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="language_model.safetensors is not a safetensors file"):
        checkpoint.load(model_with_words)


def test_tuning_writes_the_weights_and_nothing_else(run, tmp_path, model_with_words):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 4)])
    before = {file.name: file.read_bytes() for file in model_with_words.iterdir()}
    code, said, _ = run("tune", manifest, "--checkpoint", model_with_words, "--every", 1)
    assert code == 0 and "WER" in said
    after = {file.name: file.read_bytes() for file in model_with_words.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"config.json"}
    written = json.loads(after["config.json"])
    assert written.pop("language_model") != {"weight": 0.5, "word_bonus": 1.5}
    assert written == {k: v for k, v in json.loads(before["config.json"]).items() if k != "language_model"}


def test_tuning_without_a_language_model_says_how_to_make_one(run, tmp_path, checkpoint_folder):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 1)])
    code, _, said = run("tune", manifest, "--checkpoint", checkpoint_folder)
    assert code == 2 and "Make one with" in said


def test_each_decoder_transcribes_and_evaluates(run, tmp_path, model_with_words):
    utterances = toy_corpus(tmp_path, 3)
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in utterances])
    for decoder in ("greedy", "beam"):
        code, said, _ = run("evaluate", manifest, "--checkpoint", model_with_words, "--decoder", decoder, "--format", "json")
        assert code == 0 and json.loads(said)["decoder"] == decoder
    default = run("transcribe", utterances[0].path, "--checkpoint", model_with_words)
    assert default == run("transcribe", utterances[0].path, "--checkpoint", model_with_words, "--decoder", "beam")
