import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from synthetic import RATE, speech_like, tone, toy_corpus, write_manifest

from asr_core import alignment
from asr_core.transcriber import Transcriber

ROOT = Path(__file__).parent.parent


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
    results = sorted(map(json.loads, out.splitlines()), key=lambda result: result["audio"])  # they come as they finish
    assert code == 0
    assert [result["audio"] for result in results] == [clip.name for clip in clips]
    assert [result["text"] for result in results] == spoken_in(clips, checkpoint)
    assert [result["duration_s"] for result in results] == [1.0, 2.0]
    keys = {"label", "start_s", "end_s", "score", "confidence"}
    assert all(keys == set(word) for result in results for word in result["words"])


def test_transcribe_writes_files_where_a_folder_is_named(run, clips, checkpoint, tmp_path):
    code, out, _ = run("transcribe", *clips, "--out", tmp_path / "texts", *checkpoint)
    files = [tmp_path / "texts" / f"{clip.stem}.txt" for clip in clips]
    assert (code, sorted(out.splitlines())) == (0, [str(file) for file in files])
    assert [file.read_text().rstrip("\n") for file in files] == spoken_in(clips, checkpoint)


def test_results_lie_below_out_as_recordings_do_and_are_not_made_twice(run, clips, checkpoint, tmp_path):
    for number, folder in enumerate(("anna", "bert", "bert/deep")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        clips[number % 2].rename(tmp_path / "in" / folder / "clip.wav") if number < 2 else None
    (tmp_path / "in" / "bert" / "letter.wav").write_text("Dear aunt,\n" * 100)
    arguments = ("transcribe", tmp_path / "in", "--out", tmp_path / "out", "--format", "ctm", *checkpoint)
    code, out, err = run(*arguments)
    made = [tmp_path / "out" / name / "clip.ctm" for name in ("anna", "bert")]
    assert (code, sorted(out.splitlines())) == (2, list(map(str, made)))
    assert err.startswith("bert/letter.wav: letter.wav is not a WAV file") and len(err.splitlines()) == 1
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == made
    made[0].write_text("mine")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "2 of 3 were there already" and len(err.splitlines()) == 2
    assert made[0].read_text() == "mine"


def test_json_lines_tell_recordings_of_the_same_name_apart(run, checkpoint, tmp_path):
    for seconds, folder in enumerate(("anna", "bert"), 1):
        (tmp_path / folder).mkdir()
        sf.write(tmp_path / folder / "clip.wav", speech_like(float(seconds)), RATE)
    _, out, _ = run("transcribe", tmp_path / "anna/clip.wav", tmp_path / "bert", "--format", "json", *checkpoint)
    durations = {result["audio"]: result["duration_s"] for result in map(json.loads, out.splitlines())}
    assert durations == {"anna/clip.wav": 1.0, "bert/clip.wav": 2.0}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_lines_of_text_are_in_the_order_of_the_input_whatever_is_finished_first(run, checkpoint, tmp_path, workers):
    clips = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, clip in enumerate(clips):
        sf.write(clip, speech_like([0.5, 17.0, 1.0, 3.0, 2.0][number], number), RATE)
    arguments = [clips[0], tmp_path / "gone.wav", *clips[1:]]
    code, out, _ = run("transcribe", *arguments, "--workers", workers, "--decoder", "greedy", *checkpoint)
    transcriber = Transcriber.from_checkpoint(checkpoint[1])
    assert (code, out.splitlines()) == (2, [transcriber.transcribe(clip, "greedy").text for clip in clips])


def test_a_name_that_is_no_text_spoils_no_line(run, clips, checkpoint, tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff.wav")
    clips[0].rename(odd)
    code, out, _ = run("transcribe", odd, "--format", "json", *checkpoint)
    assert code == 0 and json.loads(out)["audio"] == odd.name
    code, out, _ = run("transcribe", odd, "--out", tmp_path / "out", *checkpoint)
    assert code == 0 and (tmp_path / "out" / odd.name).with_suffix(".txt").exists()


def test_an_out_that_is_a_file_gets_one_line(run, clips, checkpoint, tmp_path):
    (tmp_path / "out").touch()
    code, out, err = run("transcribe", *clips, "--out", tmp_path / "out", *checkpoint)
    assert (code, out) == (2, "") and str(tmp_path / "out") in err and len(err.splitlines()) == 1


def test_a_number_of_workers_is_a_number(run, clips):
    code, _, err = run("transcribe", *clips, "--workers", "-1")
    assert code == 2 and "'-1' is no number of processes" in err


def test_a_reader_that_has_had_enough_sees_no_traceback(clips, checkpoint):
    command = [sys.executable, "-m", "asr_core", "transcribe", "--format", "html", *clips, *checkpoint]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


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
    assert "10,000 resamples of 5 utterances" in out  # of two speakers
    code, out, _ = run("evaluate", manifest, "--format", "json", *checkpoint)
    figures = json.loads(out)
    assert code == 0 and figures["utterances"] == 5
    assert figures["characters"]["reference"] == sum(len(utterance.text) for utterance in corpus)
    for rate in ("wer", "cer"):
        least, most = figures[f"{rate}_interval"]
        assert least <= figures[rate] <= most
        assert f"{rate.upper()} {least:.4f} to {most:.4f}" in run("evaluate", manifest, *checkpoint)[1]


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
    only, but = (
        json.loads(run(*arguments, option, tmp_path / "speakers.txt", "--by-speaker")[1])
        for option in ("--only-speakers", "--exclude-speakers")
    )
    assert (only["utterances"], list(only["speakers"])) == (2, ["speaker1"])
    assert (but["utterances"], list(but["speakers"])) == (2, ["speaker0"])


@pytest.mark.parametrize(
    ("corpus_name", "options", "telling"),
    [
        ("gone.tsv", [], "no file or folder"),
        (".", [], "no LibriSpeech transcripts"),
        ("letter.tsv", [], "lacks the columns"),
        ("m.tsv", ["--split", "valid"], "no rows of split 'valid'"),
        ("m.tsv", ["--only-speakers", "gone.txt"], "no list of speakers"),
        ("m.tsv", ["--only-speakers", "letter.tsv"], "No utterance is left"),
        ("m.tsv", ["--exclude-speakers", "all.txt"], "No utterance is left"),
        ("m.tsv", ["--exclude-speakers", "gone.txt"], "no list of speakers"),
    ],
)
def test_a_corpus_that_cannot_be_read_gets_one_line(
    run, corpus, checkpoint, tmp_path, monkeypatch, corpus_name, options, telling
):
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "m.tsv", [(utterance, "test") for utterance in corpus])
    (tmp_path / "letter.tsv").write_text("Dear aunt,\n")
    (tmp_path / "all.txt").write_text("speaker0\nspeaker1\n")
    code, out, err = run("evaluate", corpus_name, *options, *checkpoint)
    assert (code, out) == (2, "")
    assert telling in err and len(err.splitlines()) == 1


def test_a_text_and_a_sound_that_are_too_long_to_align_are_refused_before_the_long_work(
    run, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(alignment, "MOST_CELLS", 10_000)
    monkeypatch.setattr(Transcriber, "read", lambda *arguments: pytest.fail("It was read all the same."))
    sf.write(tmp_path / "clip.wav", speech_like(70.0), RATE)
    code, out, err = run("align", tmp_path / "clip.wav", "la " * 40, *checkpoint)
    assert (code, out) == (2, "")
    assert err.startswith("119 letters and spaces and 1 minutes of sound are too much to align in one go")
    assert "Cut both into parts" in err
