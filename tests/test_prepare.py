"""prepare: corpora in the layouts in which they are downloaded -> a manifest that training reads."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from synthetic import RATE, speech_like, toy_corpus, write_manifest

from asr_core import audio
from asr_core.data.prepare import MP3_LEVELS, code_as_mp3
from asr_core.data.utterances import read_manifest

EXAMPLE = Path(__file__).parent.parent / "examples" / "1272-135031-0008.mp3"


@pytest.fixture
def prepare(run):
    """prepare, with one worker."""
    return lambda *arguments: run("prepare", *arguments, "--workers", 1)


def librispeech(root: Path) -> None:
    for subset, number in (("train-clean-5", 0), ("dev-clean-2", 1), ("test-clean", 2)):
        chapter = root / subset / "19" / "198"
        chapter.mkdir(parents=True)
        sf.write(chapter / f"19-198-000{number}.flac", speech_like(1.0 + number / 10, number), RATE)
        (chapter / "19-198.trans.txt").write_text(f"19-198-000{number} IT WAS NUMBER {['ZERO', 'ONE', 'TWO'][number]}\n")


def common_voice(root: Path) -> None:
    (root / "clips").mkdir(parents=True)
    rows = {"train.tsv": ("a.mp3", "“Café” No. 42, isn't it?"), "dev.tsv": ("b.mp3", "漢字"), "test.tsv": ("c.mp3", "Yes.")}
    for table, (clip, sentence) in rows.items():
        (root / table).write_text(f"client_id\tpath\tsentence\tup_votes\nf00d\t{clip}\t{sentence}\t2\n", encoding="utf-8")
        sf.write(root / "clips" / clip, np.repeat(speech_like(1.0), 3), 3 * RATE, format="MP3")


def test_librispeech_becomes_a_manifest_with_its_splits(prepare, tmp_path):
    librispeech(tmp_path / "LibriSpeech")
    code, said, _ = prepare(tmp_path / "LibriSpeech", tmp_path / "out")
    assert code == 0 and "3 of 3 utterances" in said
    for split, text, seconds in (("train", "zero", 1.0), ("valid", "one", 1.1), ("test", "two", 1.2)):
        (utterance,) = read_manifest(tmp_path / "out" / "manifest.tsv", split)
        assert utterance.text == f"it was number {text}" and utterance.speaker == "19"
        assert utterance.duration_s == pytest.approx(seconds, abs=0.01)
        original = sf.read(tmp_path / "LibriSpeech" / utterance_folder(split) / "19" / "198" / utterance.path.name)[0]
        assert np.abs(sf.read(utterance.path)[0] - original).max() < 1e-4


def utterance_folder(split: str) -> str:
    return {"train": "train-clean-5", "valid": "dev-clean-2", "test": "test-clean"}[split]


def test_common_voice_is_spelt_with_the_alphabet_and_resampled(prepare, tmp_path):
    common_voice(tmp_path / "cv")
    code, said, errors = prepare(tmp_path / "cv", tmp_path / "out")
    assert code == 2 and "2 of 3 utterances" in said
    assert "Left out b: nothing can be spelt of its text '漢字'." in errors
    (utterance,) = read_manifest(tmp_path / "out" / "manifest.tsv", "train")
    assert utterance.text == "cafe no forty two isn't it" and utterance.speaker == "f00d"
    assert sf.info(utterance.path).samplerate == RATE


def test_a_manifest_is_prepared_too_and_what_is_broken_is_named(prepare, tmp_path):
    clips = toy_corpus(tmp_path, 3)
    clips[1].path.write_bytes(b"no sound")
    code, said, errors = prepare(write_manifest(tmp_path / "m.tsv", [(clip, "train") for clip in clips]), tmp_path / "out")
    assert code == 2 and "2 of 3" in said and f"Left out {clips[1].id}: " in errors
    assert [each.text for each in read_manifest(tmp_path / "out" / "manifest.tsv")] == [clips[0].text, clips[2].text]


def test_training_recordings_become_what_mp3_leaves_of_them(prepare, tmp_path):
    clips = toy_corpus(tmp_path, 3)
    rows = list(zip(clips, ("train", "train", "valid"), strict=True))
    manifest = write_manifest(tmp_path / "m.tsv", rows)
    assert prepare(manifest, tmp_path / "out", "--mp3")[0] == 0
    coded = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [each.text for each in coded] == [clip.text for clip in clips[:2]]
    lengths = [len(sf.read(each.path)[0]) for each in coded]
    assert [each.duration_s for each in coded] == pytest.approx([length / RATE for length in lengths], abs=1e-3)
    for each, clip in zip(coded, clips, strict=False):
        left = each.path.read_bytes()
        each.path.unlink()
        assert prepare(manifest, tmp_path / "out", "--mp3")[0] == 0 and each.path.read_bytes() == left, "each time the same"
        assert not np.array_equal(sf.read(each.path)[0][: len(sf.read(clip.path)[0])], sf.read(clip.path)[0])


@pytest.mark.parametrize("compression", MP3_LEVELS)
def test_mp3_keeps_the_speech_and_nothing_that_it_has_no_bits_for(compression):
    speech = audio.load(EXAMPLE)
    coded = code_as_mp3(speech, compression)
    assert 0 <= len(coded) - len(speech) < 0.1 * RATE
    size = 2 ** len(coded).bit_length()
    before, after = np.fft.rfft(speech, size), np.fft.rfft(coded, size)
    likeness = np.fft.irfft(before.conj() * after)  # at every shift
    assert likeness.argmax() <= len(coded) - len(speech)
    correlation = likeness.max() / np.linalg.norm(speech) / np.linalg.norm(coded)
    assert correlation > 0.98 and not np.array_equal(coded[: len(speech)], speech)


def test_hiss_of_a_wide_band_does_not_survive_a_narrow_mp3():
    hiss = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE)
    powers = [np.abs(np.fft.rfft(code_as_mp3(hiss, level))) ** 2 for level in MP3_LEVELS]
    above = [power[round(len(power) * 7_000 / 8_000) :].sum() / power.sum() for power in powers]
    assert above[1] < above[0] / 10


def test_what_is_there_already_is_not_decoded_again(prepare, tmp_path):
    clips = toy_corpus(tmp_path, 3)
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "train") for clip in clips])
    prepare(manifest, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.tsv").read_bytes()
    for clip in clips:
        clip.path.unlink()
    code, _, _ = prepare(manifest, tmp_path / "out")
    assert code == 0 and (tmp_path / "out" / "manifest.tsv").read_bytes() == before


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(prepare, tmp_path):
    manifest = write_manifest(tmp_path / "m.tsv", [(clip, "train") for clip in toy_corpus(tmp_path, 60)])
    command = [sys.executable, "-m", "asr_core", "prepare", manifest, tmp_path / "killed", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL, start_new_session=True
    ) as job:
        while job.poll() is None and not list((tmp_path / "killed").rglob("*.flac")):
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGKILL)
    prepare(manifest, tmp_path / "killed")
    prepare(manifest, tmp_path / "whole")
    files = [
        sorted(path.relative_to(out) for path in out.rglob("*.flac")) for out in (tmp_path / "killed", tmp_path / "whole")
    ]
    assert files[0] == files[1] and len(files[0]) == 60
    for path in files[0]:
        assert (tmp_path / "killed" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_a_manifest_of_files_anywhere_writes_into_its_own_folder_alone(prepare, tmp_path):
    (tmp_path / "lists").mkdir()
    clips = toy_corpus(tmp_path, 3)
    paths = [clips[0].path, "../" + clips[1].path.name, "../lists/../" + clips[2].path.name]
    rows = [f"{path}\ts\t{split}\t1\tabc" for path, split in zip(paths, ("train", "../../out of it", "/"), strict=True)]
    manifest = tmp_path / "lists" / "m.tsv"
    manifest.write_text("path\tspeaker\tsplit\tduration_s\ttext\n" + "\n".join(rows))
    before = set(tmp_path.rglob("*"))
    code, _, errors = prepare(manifest, tmp_path / "deep" / "out")
    assert code == 0, errors
    new = set(tmp_path.rglob("*")) - before
    assert all(tmp_path / "deep" in (path, *path.parents) for path in new)
    prepared = read_manifest(tmp_path / "deep" / "out" / "manifest.tsv")
    for clip, utterance in zip(clips, prepared, strict=True):
        assert np.abs(sf.read(utterance.path)[0] - sf.read(clip.path)[0]).max() < 1e-4


def test_a_manifest_is_not_prepared_over_itself(prepare, tmp_path):
    manifest = write_manifest(tmp_path / "manifest.tsv", [(clip, "train") for clip in toy_corpus(tmp_path, 1)])
    before = manifest.read_bytes()
    code, _, said = prepare(manifest, tmp_path)
    assert code == 2 and f"{manifest} would be overwritten" in said
    assert manifest.read_bytes() == before and not (tmp_path / "audio").exists()


def test_a_table_that_is_no_text_is_named(prepare, tmp_path):
    common_voice(tmp_path)
    (tmp_path / "train.tsv").write_bytes("client_id\tpath\tsentence\nx\ta.mp3\tcafé\n".encode("latin-1"))
    code, _, said = prepare(tmp_path, tmp_path / "out")
    assert code == 2 and said.startswith("train.tsv is not Common Voice's: 'utf-8' codec can't decode")


@pytest.mark.parametrize("what", ["nowhere", "empty", "strange.tsv", "cv"])
def test_what_is_no_corpus_gets_a_sentence(prepare, tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange.tsv").write_text("a\tb\n1\t2\n")
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "train.tsv").write_text("a\tb\n1\t2\n")
    code, _, said = prepare(tmp_path / what, tmp_path / "out")
    assert code == 2 and said.strip().endswith(".") and "Traceback" not in said
