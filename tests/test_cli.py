import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from synthetic import RATE, speech_like, tone, toy_corpus, write_manifest

from asr_core import __main__ as program
from asr_core.transcriber import Transcriber

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `python -m asr_core` with these arguments, in this process -> (exit code, standard output, standard error)."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["asr_core", *map(str, arguments)])
        try:
            code = program.main()
        except SystemExit as left:  # argparse
            code = left.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def checkpoint(checkpoint_folder):
    return "--checkpoint", checkpoint_folder


@pytest.fixture
def clips(tmp_path):
    for number in range(2):
        sf.write(tmp_path / f"clip{number}.wav", speech_like(1.0 + number, number), RATE)
    return [tmp_path / f"clip{number}.wav" for number in range(2)]


def spoken_in(clips, checkpoint) -> list[str]:
    transcriber = Transcriber.from_checkpoint(checkpoint[1])
    return [transcriber.transcribe(clip).text for clip in clips]


def test_transcribe_writes_a_line_of_text_for_each_file(run, clips, checkpoint):
    code, out, _ = run("transcribe", *clips, *checkpoint)
    assert code == 0
    assert out.splitlines() == spoken_in(clips, checkpoint)


def test_transcribe_writes_a_line_of_json_for_each_file(run, clips, checkpoint):
    code, out, _ = run("transcribe", *clips, "--format", "json", *checkpoint)
    results = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [result["audio"] for result in results] == [clip.name for clip in clips]
    assert [result["text"] for result in results] == spoken_in(clips, checkpoint)
    assert [result["duration_s"] for result in results] == [1.0, 2.0]
    assert all({"label", "start_s", "end_s", "score"} == set(word) for result in results for word in result["words"])


def test_transcribe_writes_files_where_a_folder_is_named(run, clips, checkpoint, tmp_path):
    code, out, _ = run("transcribe", *clips, "--out", tmp_path / "texts", *checkpoint)
    files = [tmp_path / "texts" / f"{clip.stem}.txt" for clip in clips]
    assert (code, out.splitlines()) == (0, [str(file) for file in files])
    assert [file.read_text().rstrip("\n") for file in files] == spoken_in(clips, checkpoint)


def test_align_finds_a_text_in_a_recording(run, clips, checkpoint):
    code, out, _ = run("align", clips[1], "Any words", *checkpoint)
    assert code == 0
    assert [word["label"] for word in json.loads(out)["words"]] == ["any", "words"]


TOO_LONG = "far too long for this " * 9


@pytest.mark.parametrize(
    ("text", "telling"), [("room 101", "lacks “1”, “0”"), ("", "empty"), (TOO_LONG, "too long for the audio")]
)
def test_a_text_that_cannot_be_aligned_gets_one_line(run, clips, checkpoint, text, telling):
    code, out, err = run("align", clips[0], text, *checkpoint)
    assert (code, out) == (2, "")
    assert telling in err and len(err.splitlines()) == 1


def test_it_runs_as_a_module(clips, checkpoint):
    command = [sys.executable, "-m", "asr_core", "transcribe", *clips, clips[0].parent / "gone.wav", *checkpoint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.splitlines() == spoken_in(clips, checkpoint)
    assert "gone.wav" in done.stderr and "Traceback" not in done.stderr


BAD = ["empty.wav", "silent.wav", "short.wav", "nan.wav", "cut.wav", "letter.wav", "noise.raw", "folder", "gone.wav"]


def write_bad_files(folder: Path) -> None:
    (folder / "empty.wav").touch()
    sf.write(folder / "silent.wav", np.zeros(RATE), RATE)
    sf.write(folder / "short.wav", tone(0.05), RATE)
    sf.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    sf.write(folder / "cut.wav", tone(1.0), RATE)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:10_000])
    (folder / "letter.wav").write_text("Dear aunt,\n" * 100)
    (folder / "noise.raw").write_bytes(bytes(range(256)) * 200)
    (folder / "folder").mkdir()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_line_and_the_good_ones_after_it_their_text(run, clips, checkpoint, tmp_path, name):
    write_bad_files(tmp_path)
    code, out, err = run("transcribe", clips[0], tmp_path / name, clips[1], *checkpoint)
    assert code == 2
    assert out.splitlines() == spoken_in(clips, checkpoint)
    assert name in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("source", ["nowhere", "runs/my--model", "someone/model", "/no/such/folder"])
def test_an_unknown_checkpoint_gets_one_line(run, clips, source):
    code, out, err = run("transcribe", clips[0], "--checkpoint", source)
    assert (code, out) == (2, "")
    assert source in err and len(err.splitlines()) == 1


@pytest.fixture
def corpus(tmp_path):
    return toy_corpus(tmp_path, 5)


def messages(err: str) -> list[str]:
    """Standard error without tqdm's bar."""
    return [line for line in err.replace("\r", "\n").splitlines() if line and "batch" not in line]


def test_evaluate_measures_a_manifest(run, corpus, checkpoint, tmp_path):
    manifest = write_manifest(tmp_path / "m.tsv", [(utterance, "test") for utterance in corpus])
    code, out, err = run("evaluate", manifest, *checkpoint)
    assert (code, messages(err)) == (0, [])
    assert "5 utterances" in out and "0 skipped" in out and "WER" in out and "of 5 words" in out
    code, out, _ = run("evaluate", manifest, "--format", "json", *checkpoint)
    figures = json.loads(out)
    assert code == 0 and figures["utterances"] == 5
    assert figures["characters"]["reference"] == sum(len(utterance.text) for utterance in corpus)


def test_evaluate_measures_the_rest_when_a_file_is_missing_and_says_so(run, corpus, checkpoint, tmp_path):
    rows = [(utterance, "test") for utterance in corpus]
    whole = run("evaluate", write_manifest(tmp_path / "m.tsv", rows), "--format", "json", *checkpoint)[1]
    gone = replace(corpus[0], path=tmp_path / "gone.wav")
    manifest = write_manifest(tmp_path / "holed.tsv", [*rows, (gone, "test")])
    code, out, err = run("evaluate", manifest, "--format", "json", *checkpoint)
    assert code == 2
    (message,) = messages(err)
    assert message.startswith("Skipped gone: ")
    kept = ("utterances", "wer", "cer", "words", "characters")
    assert {key: json.loads(out)[key] for key in kept} == {key: json.loads(whole)[key] for key in kept}
    assert json.loads(out)["skipped"] == 1


def test_evaluate_with_every_file_missing_claims_no_rate_of_zero(run, corpus, checkpoint, tmp_path):
    gone = [(replace(utterance, path=tmp_path / "gone.wav"), "test") for utterance in corpus]
    code, out, _ = run("evaluate", write_manifest(tmp_path / "m.tsv", gone), *checkpoint)
    assert code == 2
    assert "WER 0.0" not in out


def test_evaluate_can_keep_to_a_split_and_to_speakers(run, corpus, checkpoint, tmp_path):
    rows = [(utterance, "test" if number < 4 else "train") for number, utterance in enumerate(corpus)]
    manifest = write_manifest(tmp_path / "m.tsv", rows)
    (tmp_path / "speakers.txt").write_text("speaker1\n")
    arguments = ["evaluate", manifest, "--split", "test", "--format", "json", *checkpoint]
    assert json.loads(run(*arguments)[1])["utterances"] == 4
    assert json.loads(run(*arguments, "--only-speakers", tmp_path / "speakers.txt")[1])["utterances"] == 2


@pytest.mark.parametrize(
    ("corpus_name", "options", "telling"),
    [
        ("gone.tsv", [], "no file or folder"),
        (".", [], "no LibriSpeech transcripts"),
        ("letter.tsv", [], "lacks the columns"),
        ("m.tsv", ["--split", "valid"], "no rows of split 'valid'"),
        ("m.tsv", ["--only-speakers", "gone.txt"], "no list of speakers"),
        ("m.tsv", ["--only-speakers", "letter.tsv"], "No utterance is left"),
    ],
)
def test_a_corpus_that_cannot_be_read_gets_one_line(
    run, corpus, checkpoint, tmp_path, monkeypatch, corpus_name, options, telling
):
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "m.tsv", [(utterance, "test") for utterance in corpus])
    (tmp_path / "letter.tsv").write_text("Dear aunt,\n")
    code, out, err = run("evaluate", corpus_name, *options, *checkpoint)
    assert (code, out) == (2, "")
    assert telling in err and len(err.splitlines()) == 1
