"""python -m asr_core language-model, tune, and --decoder, from text to a checkpoint that heeds it."""

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from crashes import story
from synthetic import tiny_model, toy_corpus, write_manifest

from asr_core import DEFAULT_CHECKPOINT, checkpoint
from asr_core.checkpoint import LANGUAGE_MODEL, CheckpointError
from asr_core.commands import language_model as commands
from asr_core.kneser_ney import estimate
from asr_core.language_model import load

VERSES, ROOT = Path(__file__).parent / "verses.txt", Path(__file__).parent.parent


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
    assert written.pop("calibration").keys() == {"greedy", "beam"}
    assert written == {k: v for k, v in json.loads(before["config.json"]).items() if k != "language_model"}


@pytest.fixture
def manifest(tmp_path) -> Path:
    return write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 2)])


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def require_tuned_copy(out: Path, original: dict[str, bytes]) -> None:
    """All files of the original but for what was found, in config.json; and it loads."""
    made = contents(out)
    assert made.keys() == original.keys() and made["config.json"] != original["config.json"]
    assert {name for name in made if made[name] != original[name]} == {"config.json"}
    before, after = (json.loads(files["config.json"]) for files in (original, made))
    tuned = after.pop("language_model")
    assert after.pop("calibration").keys() == {"greedy", "beam"}
    assert before.pop("language_model") != tuned and before == after
    assert checkpoint.load(out).language_model.weight == tuned["weight"]


@pytest.mark.parametrize("source", ["a folder", "the shipped one"])
def test_tuning_into_another_folder_writes_a_whole_checkpoint_and_leaves_the_first(
    run, tmp_path, model_with_words, manifest, monkeypatch, source
):
    """Weights in 8 bits too, which would change if they were written anew, and the card, which names the licence."""
    model = replace(checkpoint.load(model_with_words), replay=story(tiny_model(), 2))
    model.save(model_with_words, compressed=True)
    (model_with_words / "README.md").write_bytes(b"---\r\nlicense: cc-by-4.0\r\n---\r\n# Mine\r\n")
    before, out = contents(model_with_words), tmp_path / "new" / "tuned"
    if source == "the shipped one":
        monkeypatch.setattr(commands, "DEFAULT_CHECKPOINT", model_with_words)
        code, said, _ = run("tune", manifest, "--out", out, "--every", 1)
    else:
        code, said, _ = run("tune", manifest, "--checkpoint", model_with_words, "--out", out, "--every", 1)
    assert code == 0 and said.endswith(f"written into {out}\n")
    assert len(before) == 5
    require_tuned_copy(out, before)
    assert contents(model_with_words) == before
    assert checkpoint.load(out).licence == "cc-by-4.0"


def test_a_model_of_the_hub_is_tuned_into_a_folder_and_nowhere_else(online, tmp_path, model_with_words, manifest):
    files = contents(model_with_words) | {"README.md": b"---\nlicense: mit\n---\n"}
    online.models["somebody/wordy"] = dict(files)
    refused = online("tune", manifest, "--checkpoint", "somebody/wordy", "--every", 1)
    assert refused.returncode == 2 and "listening" not in refused.stderr
    assert refused.stderr.startswith("There is no folder somebody/wordy to write the weights into. Name with --out FOLDER")
    assert not (ROOT / "somebody").exists()
    done = online("tune", manifest, "--checkpoint", "somebody/wordy", "--out", tmp_path / "tuned", "--every", 1)
    assert done.returncode == 0, done.stderr
    require_tuned_copy(tmp_path / "tuned", files)
    assert not (ROOT / "somebody").exists()


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        ([], "Name yours with --checkpoint FOLDER, or with --out FOLDER where to write a copy of the shipped one."),
        (["--checkpoint", "nowhere"], "There is no folder nowhere to write the weights into. Name with --out FOLDER"),
        (["--checkpoint", "nowhere", "--out", "tuned"], "There is no checkpoint folder nowhere."),
        (["--out", "notes.txt"], "notes.txt is a file. Name with --out a folder"),
    ],
)
def test_weights_that_have_nowhere_to_go_are_not_looked_for(run, tmp_path, manifest, monkeypatch, arguments, telling):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "Transcriber", None)  # nothing may be listened to
    (tmp_path / "notes.txt").write_text("mine")
    shipped = contents(DEFAULT_CHECKPOINT)
    code, _, said = run("tune", manifest, *arguments)
    assert code == 2 and telling in said
    assert contents(DEFAULT_CHECKPOINT) == shipped
    assert not (tmp_path / "tuned").exists() and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_card_where_a_copy_is_written_stays(run, tmp_path, model_with_words, manifest):
    (model_with_words / "README.md").write_text("theirs")
    out = tmp_path / "tuned"
    out.mkdir()
    (out / "README.md").write_text("mine")
    assert run("tune", manifest, "--checkpoint", model_with_words, "--out", out, "--every", 1)[0] == 0
    assert (out / "README.md").read_text() == "mine" and checkpoint.load(out)


def test_a_language_model_is_not_written_over_its_text(run, tmp_path):
    text = tmp_path / "verses.txt"
    text.write_bytes(VERSES.read_bytes())
    (tmp_path / "link.txt").symlink_to(text)
    code, _, said = run("language-model", VERSES, text, "--out", tmp_path / "link.txt")
    assert code == 2 and "link.txt is the text itself" in said
    assert text.read_bytes() == VERSES.read_bytes()


def test_tuning_without_a_language_model_says_how_to_make_one(run, tmp_path, checkpoint_folder):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in toy_corpus(tmp_path, 1)])
    code, _, said = run("tune", manifest, "--checkpoint", checkpoint_folder)
    assert code == 2 and "Make one with" in said


@pytest.mark.parametrize("every", ["0", "-1", "x"])
def test_every_how_manieth_utterance_is_a_number_from_1_on(run, model_with_words, every):
    code, _, said = run("tune", "m.tsv", "--checkpoint", model_with_words, "--every", every)
    assert code == 2 and f"it is {every!r}; it must be a whole number from 1 on" in said


def test_each_decoder_transcribes_and_evaluates(run, tmp_path, model_with_words):
    utterances = toy_corpus(tmp_path, 3)
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "valid") for clip in utterances])
    for decoder in ("greedy", "beam"):
        code, said, _ = run("evaluate", manifest, "--checkpoint", model_with_words, "--decoder", decoder, "--format", "json")
        assert code == 0 and json.loads(said)["decoder"] == decoder
    default = run("transcribe", utterances[0].path, "--checkpoint", model_with_words)
    assert default == run("transcribe", utterances[0].path, "--checkpoint", model_with_words, "--decoder", "beam")
