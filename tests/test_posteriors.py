"""What other toolkits save, in their own layouts, and every way in which it can be wrong."""

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from synthetic import speech_like

from asr_core import DEFAULT_CHECKPOINT, AudioError, PosteriorsError, Transcriber, align, posteriors
from asr_core.transcription import Transcription
from asr_core.viewer.payload import Lane, payload

EXAMPLE = Path(__file__).parent.parent / "examples" / "1272-135031-0008.mp3"
PIECES = ("<blk>", "▁he", "llo", "▁w", "or", "ld", "▁")


@pytest.fixture(scope="module")
def heard() -> Transcription:
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT).transcribe(EXAMPLE, "greedy")


@pytest.fixture
def arrays(heard) -> dict[str, np.ndarray]:
    """The model's own reading of an example, as a file has it."""
    emission, sound = heard.emission, heard.sound
    return {
        "log_probs": emission.log_probs.numpy(), "labels": np.array(emission.alphabet.labels),
        "blank": np.array(emission.alphabet.blank), "frame_duration_s": np.array(emission.frame_s),
        "audio": sound.samples[:], "sample_rate": np.array(sound.sample_rate),
    }  # fmt: skip


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        metadata = {"labels": json.dumps(arrays["labels"].tolist()), "blank": str(arrays["blank"])}
        save_file({name: array for name, array in arrays.items() if name not in metadata}, path, metadata)
    return path


def along(path: list[int], labels: tuple[str, ...], sharpness: float = 5.0) -> np.ndarray:
    """(T, V) logits that have this greedy path."""
    logits = np.random.default_rng(0).standard_normal((len(path), len(labels))).astype(np.float32)
    logits[np.arange(len(path)), path] += sharpness + logits.max()
    return logits


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_file_reads_as_the_model_itself_does(suffix, arrays, heard, tmp_path):
    found = posteriors.load(saved(tmp_path / f"clip.{suffix}", arrays))
    assert found.note == "" and torch.equal(found.emission.log_probs, heard.emission.log_probs)
    reading = found.read()
    heard = heard.with_confidences([word.score for word in heard.words])  # the file does not know how far to trust them
    assert (reading.text, reading.words, reading.warnings) == (heard.text, heard.words, heard.warnings)
    assert reading.sound.name == "clip"
    assert reading.with_convention("energy").words == pytest.approx(heard.with_convention("energy").words)
    assert align(reading, heard.text).loss == pytest.approx(align(heard, heard.text).loss)


def test_logits_and_probabilities_are_told_apart_and_read_alike(arrays, heard):
    shift = np.random.default_rng(0).normal(0, 3, (len(arrays["log_probs"]), 1)).astype(np.float32)
    kinds = {
        "These were logits; log_softmax was applied.": arrays["log_probs"] + shift,
        "These were probabilities; their logarithm was taken.": np.exp(arrays["log_probs"].astype(np.float64)),
        "These were log-probabilities that went through float16": torch.tensor(arrays["log_probs"]).bfloat16(),
    }
    for note, values in kinds.items():
        found = posteriors.of_arrays(**{**arrays, "log_probs": values})
        assert found.note.startswith(note)
        assert found.emission.log_probs.logsumexp(1).abs().max() < 1e-5
        assert (found.emission.log_probs.exp() - heard.emission.log_probs.exp()).abs().max() < 0.01
        assert found.read().text == heard.text


def test_a_sound_of_any_rate_is_heard_at_the_pages_rate():
    found = posteriors.of_arrays(along([0] * 100, PIECES), PIECES, 0, 0.02, np.tile(speech_like(1.0), (2, 1)).T, 8_000)
    assert (found.sound.sample_rate, found.sound.duration_s) == (16_000, pytest.approx(2.0, abs=0.01))


def test_without_sound_there_is_no_spectrogram_and_nothing_counts_as_silent():
    path = [0, 1, 1, 2, 0, 0, 3, 4, 5, 0]
    found = posteriors.of_arrays(along(path, PIECES), PIECES, 0, 0.08)
    reading = found.read()
    assert (reading.text, reading.warnings, reading.duration_s) == ("hello world", {}, pytest.approx(0.8))
    assert not found.sound.is_heard
    by_energy, by_boundary = (reading.with_convention(name) for name in ("energy", "boundary"))
    assert by_energy.words == by_boundary.words
    assert payload(Lane("heard", reading))["mel"]["frames"] == 0
    assert found.sound.samples.base is not None and found.sound.samples.strides == (0,)  # an hour of it takes no memory


TOOLKITS = {  # labels, blank, greedy path, text
    "ESPnet": (("<blank>", "<unk>", "▁THE", "▁CA", "T", "S", "<sos/eos>"), 0, [0, 2, 2, 0, 3, 4, 0, 5], "THE CATS"),
    "ESPnet, letters": (("<blank>", "<unk>", "<space>", "A", "B", "<sos/eos>"), 0, [3, 0, 4, 2, 2, 3, 0], "AB A"),
    "NeMo": (("<unk>", "▁a", "n", "▁", "t", "<blank>"), 5, [5, 1, 2, 2, 5, 3, 4, 5], "an t"),
    "NeMo, letters": ((" ", "a", "b", "'", "<blank>"), 4, [1, 3, 2, 4, 0, 0, 1], "a'b a"),
    "icefall": (("<blk>", "<sos/eos>", "<unk>", "▁ONE", "▁TWO", "S"), 0, [3, 3, 0, 3, 4, 5], "ONE ONE TWOS"),
    "SpeechBrain": (("<blank>", "<unk>", "A", "E", " ", "É"), 0, [2, 4, 3, 0, 3, 5], "A EEÉ"),
    "Keras": (("", "a", "b", " ", "<blank>"), 4, [1, 1, 4, 3, 2, 4], "a b"),
    "fairseq": (("<s>", "<pad>", "</s>", "<unk>", "|", "E", "T"), 1, [6, 5, 4, 1, 6], "TE T"),
    "phones": (("[PAD]", "HH", "AH", "L", "OW", "SIL"), 0, [1, 2, 2, 3, 0, 4], "HH AH L OW"),
    "Chinese characters": (("[PAD]", "[UNK]", "漢", "字"), 0, [2, 0, 3], "漢字"),
}  # fmt: skip


@pytest.mark.parametrize("toolkit", TOOLKITS)
def test_every_toolkits_tokens_read_as_its_own_text(toolkit):
    labels, blank, path, text = TOOLKITS[toolkit]
    reading = posteriors.of_arrays(along(path, labels), labels, blank, 0.04).read()
    assert list(reading.path) == path
    assert reading.text == text
    assert reading.text.split() == [word.label for word in reading.words]
    again = align(reading, text.lower())
    assert (again.aligned.text, again.words.errors, again.characters.errors) == (text, 0, 0)


def test_a_piece_that_spikes_in_one_frame_is_no_fast_speech():
    assert posteriors.of_arrays(along([0, 1, 2, 0, 0], PIECES), PIECES, 0, 0.04).read().warnings == {}  # "hello" in 80 ms
    letters = ("_", " ", *"helo")
    fast = posteriors.of_arrays(along([2, 3, 4, 0, 4, 5], letters), letters, 0, 0.02).read()
    assert fast.warnings == {0: "“hello” is 42 letters a second; nobody speaks over 30."}


WRONG = {  # what is changed -> what is said of it, "…" for anything
    "transposed": (lambda a: {"log_probs": a["log_probs"].T}, "log_probs has shape (29, …29 labels: it lies on its side"),
    "a batch": (lambda a: {"log_probs": a["log_probs"][None]}, "log_probs has shape (1, …one recording: log_probs[0]?"),
    "one row": (lambda a: {"log_probs": a["log_probs"][0]}, "shape (29,); expected (frames, tokens)"),
    "no frames": (lambda a: {"log_probs": a["log_probs"][:0]}, "shape (0, 29)…at least one of each"),
    "whole numbers": (lambda a: {"log_probs": a["log_probs"].astype(int)}, "is torch.int64; expected floating point"),
    "no label for the blank": (lambda a: {"labels": a["labels"][:-1]}, "28 labels for 29 tokens…The blank is a token, too."),
    "too many labels": (lambda a: {"labels": np.array([*a["labels"], "ä", "ö"])}, "31 labels for 29 tokens"),
    "a label twice": (lambda a: {"labels": np.where(a["labels"] == "q", "k", a["labels"])}, "repeats a label"),
    "labels by number": (lambda a: {"labels": np.arange(29)}, "labels holds no strings"),
    "blank behind the last": (lambda a: {"blank": np.array(29)}, "blank is 29, and the tokens are 0 to 28"),
    "blank from the end": (lambda a: {"blank": np.array(-1)}, "blank is -1, and the tokens are 0 to 28"),
    "half a blank": (lambda a: {"blank": np.array(0.5)}, "blank is no single number without a fraction"),
    "two blanks": (lambda a: {"blank": np.array([0, 1])}, "blank is no single number"),
    "NaN": (lambda a: {"log_probs": np.where(a["log_probs"] < -9, np.nan, a["log_probs"])}, "holds NaN or +inf in …frames"),
    "a dead frame": (lambda a: {"log_probs": with_row(a, -np.inf)}, "In 1 of …frames no token is possible"),
    "probabilities of 0.7": (lambda a: {"log_probs": np.exp(a["log_probs"]) * 0.7}, "sum to 0.7 to 0.7 and not to 1"),
    "a softmax over time": (lambda a: {"log_probs": over_time(a)}, "a softmax over the frames, not over the tokens"),
    "milliseconds": (lambda a: {"frame_duration_s": np.array(40.0)}, "frame_duration_s is 40; expected seconds"),
    "no time": (lambda a: {"frame_duration_s": np.array(0.0)}, "frame_duration_s is 0; expected seconds"),
    "frames half as long": (
        lambda a: {"frame_duration_s": np.array(0.02)},
        "of 0.02 s are …, but the audio…(the audio says 0.0",
    ),
    "another rate": (lambda a: {"sample_rate": np.array(8000)}, "but the audio lasts …sample_rate"),
}


def with_row(arrays, value):
    return np.vstack([arrays["log_probs"], np.full((1, 29), value, np.float32)])


def over_time(arrays):
    return torch.tensor(arrays["log_probs"]).log_softmax(0).numpy()


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_emission_is_refused_with_what_was_got_and_what_was_expected(wrong, arrays, tmp_path):
    change, telling = WRONG[wrong]
    with pytest.raises(PosteriorsError, match=".*".join(map(re.escape, telling.split("…")))) as refused:
        posteriors.load(saved(tmp_path / "clip.npz", arrays | change(arrays)))
    assert str(refused.value).startswith("clip.npz: ")


@pytest.mark.parametrize(
    ("lacking", "telling"), [("sample_rate", "without its sample_rate"), ("labels", "lacks labels; it holds")]
)
def test_what_is_missing_is_named(lacking, telling, arrays, tmp_path):
    del arrays[lacking]
    with pytest.raises(PosteriorsError, match=telling):
        posteriors.load(saved(tmp_path / "clip.npz", arrays))


def test_silence_is_refused_as_silence(arrays):
    with pytest.raises(AudioError, match="silen"):
        posteriors.of_arrays(**arrays | {"audio": np.zeros_like(arrays["audio"])})


def test_no_more_is_read_than_was_allowed(arrays, tmp_path, monkeypatch):
    path = saved(tmp_path / "clip.npz", arrays)
    bytes_of, lasts_s = sum(array.nbytes for array in arrays.values()), len(arrays["log_probs"]) * 0.04
    assert posteriors.load(path, bytes_of + 2_000, lasts_s + 0.01)
    with pytest.raises(PosteriorsError, match=r"^clip.npz holds 0 MB; 0 MB are the most. Save one recording a file.$"):
        posteriors.load(path, bytes_of - 2_000)
    np.savez_compressed(path, **arrays | {"audio": np.zeros(250_000, np.float32)})
    with pytest.raises(PosteriorsError, match="clip.npz holds 1 MB; 0 MB are the most"):
        posteriors.load(path, bytes_of - 2_000)
    saved(path, arrays)
    with pytest.raises(PosteriorsError, match=r"frames of 0.04 s are 0 minutes; 0 are the most that is read here"):
        posteriors.load(path, longest_s=lasts_s - 0.01)
    monkeypatch.setattr(posteriors.audio, "load", None)  # a sound of hours is refused before it is resampled
    with pytest.raises(PosteriorsError, match="but the audio lasts 1000.00 s"):
        posteriors.of_arrays(**arrays | {"audio": np.zeros(1_000_000, np.int8), "sample_rate": 1_000})


def test_an_emission_of_another_alphabet_is_read_without_the_language_model(arrays, heard):
    transcriber = Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)
    own = posteriors.of_arrays(**arrays)
    other = posteriors.of_arrays(**arrays | {"labels": arrays["labels"][::-1]})
    assert transcriber.read(other.emission, other.sound, "beam").path == other.read("beam").path
    assert transcriber.read(other.emission, other.sound).path == other.read("greedy").path
    mended = transcriber.read(own.emission, own.sound)
    without_phones = replace(heard.emission, phones=None)
    assert mended.path != own.read("beam").path and mended.text == transcriber.read(without_phones, heard.sound).text


def test_nothing_is_unpickled(arrays, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.mkdir, (tmp_path / "sprung",))

    (tmp_path / "torch.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "objects.npz", **arrays | {"labels": np.array([Trap()] * 29, dtype=object)})
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Trap()))
    for name, telling in {
        "torch.pt": "neither .npz", "pickle.npz": "damaged, or holds Python objects", "objects.npz": "never unpickled",
        "pickle.safetensors": "damaged", "gone.npz": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(PosteriorsError, match=telling):
            posteriors.load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_the_command_reads_emissions_says_what_it_did_and_goes_on_after_a_bad_one(run, arrays, heard, tmp_path):
    good = saved(tmp_path / "good.npz", arrays | {"log_probs": np.exp(arrays["log_probs"])})
    bad = saved(tmp_path / "bad.npz", arrays | {"blank": np.array(40)})
    code, out, err = run("transcribe", "--emission", bad, good)
    assert (code, out) == (2, heard.text + "\n")
    assert err.splitlines() == [
        "bad.npz: blank is 40, and the tokens are 0 to 28. Say which one is the blank.",
        "good.npz: These were probabilities; their logarithm was taken.",
    ]
    code, _, _ = run("transcribe", "--emission", good, "--format", "json", "--out", tmp_path / "out")
    assert (code, json.loads((tmp_path / "out/good.json").read_text())["text"]) == (0, heard.text)
    for arguments in ([], [EXAMPLE, "--emission", good]):
        code, _, err = run("transcribe", *arguments)
        assert code == 2 and "Name audio files" in err
