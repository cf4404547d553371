"""Recognisers on the same clips in one run. faster-whisper is a stand-in here, so that no test needs it or its models."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile as sf
from jobs import at_work, left_after
from synthetic import RATE, speech_like, tiny_model, write_manifest

from asr_core import Transcriber, benchmark, scoring, side_by_side
from asr_core.benchmark import BenchmarkError
from asr_core.commands.benchmark import compared
from asr_core.data.utterances import DataError, Utterance
from asr_core.kneser_ney import estimate
from asr_core.metrics import word_errors
from asr_core.side_by_side import System, named

ROOT = Path(__file__).parent.parent
VERSES = Path(__file__).parent / "verses.txt"
SAID = {  # what was said -> what the stand-in makes of it
    "mister smith's colour cost twenty one dollars": "Mr. Smith's color cost $21.",
    "in nineteen hundred and five he would not": "In 1905, he wouldn't",
    "the malt that lay in the house": "The malt that lay in a house!",
}
PEER = """
import json, os, sys, time
import torch

print("a library that prints")

class WhisperModel:
    def __init__(self, folder, **options):
        if os.path.exists(folder + "/damaged"):
            raise RuntimeError("Unsupported model binary version.\\nSee elsewhere")
        self.folder = folder
        self.note(made=options, torch=torch.get_num_threads(), openmp=os.environ["OMP_NUM_THREADS"])

    def note(self, **what):
        with open(self.folder + "/log", "a") as file:
            print(json.dumps(what), file=file)

    def transcribe(self, samples, **options):
        if os.path.exists(self.folder + "/breaks"):
            raise ValueError("it broke")
        samples += 0  # as a library may
        self.note(asked=options, samples=len(samples), type=str(samples.dtype))
        texts = json.load(open(self.folder + "/texts"))
        return self.segments(texts[str(len(samples))]), None

    def segments(self, text):
        time.sleep(0.2)
        middle = len(text) // 2
        for part in (text[:middle], text[middle:]):
            yield type("Segment", (), {"text": part})
"""


def corpus(folder: Path) -> Path:
    utterances = []
    for number, text in enumerate(SAID):
        path, seconds = folder / f"{number}.wav", 1.0 + number / 2
        sf.write(path, speech_like(seconds, number), RATE)
        utterances.append(Utterance(path.stem, path, text, seconds, f"speaker{number}"))
    return write_manifest(folder / "manifest.tsv", [(utterance, "valid") for utterance in utterances])


def wordy(folder: Path) -> Path:
    words = estimate(VERSES.read_text().splitlines(), 30, 100, 100)
    replace(tiny_model(), language_model=replace(words, weight=0.5)).save(folder)
    return folder


def stand_in(folder: Path) -> Path:
    """Packages that say they are faster-whisper 9.9 and ctranslate2 9.9."""
    (folder / "faster_whisper").mkdir(parents=True)
    (folder / "faster_whisper" / "__init__.py").write_text(PEER)
    for package in ("faster_whisper", "ctranslate2"):
        (folder / f"{package}-9.9.dist-info").mkdir()
        (folder / f"{package}-9.9.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: 9.9\n")
    return folder


def whisper(folder: Path) -> Path:
    folder.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).touch()
    lengths = {round((1.0 + number / 2) * RATE): text for number, text in enumerate(SAID.values())}
    (folder / "texts").write_text(json.dumps(lengths))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("side")
    corpus(folder), wordy(folder / "wordy"), whisper(folder / "small"), stand_in(folder / "packages")
    return folder


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{place / 'packages'}{os.pathsep}{ROOT}"}


def command(place: Path, *more: str) -> list[str]:
    peer = ["--data", "manifest.tsv", "--split", "valid", "--checkpoint", "wordy", "--peer", "faster-whisper:small"]
    return [sys.executable, "-m", "asr_core", "benchmark", *peer, *more]


@pytest.fixture(scope="module")
def measured(place):
    (place / "small" / "log").unlink(missing_ok=True)
    options = {"cwd": place, "env": environment(place), "capture_output": True, "text": True}
    done = subprocess.run(command(place, "--format", "json"), **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def log(place, measured):
    return [json.loads(line) for line in (place / "small" / "log").read_text().splitlines()]


@pytest.fixture
def packages(place, monkeypatch):
    monkeypatch.syspath_prepend(place / "packages")
    monkeypatch.setenv("PYTHONPATH", str(place / "packages"))
    monkeypatch.chdir(place)


def test_there_is_a_row_for_each_decoder_and_number_of_threads(measured):
    rows = [(row["threads"], row["system"], row["decoder"]) for row in measured["rows"]]
    of_each = [("wordy", "greedy"), ("wordy", "beam"), ("faster-whisper small", "greedy")]
    assert rows == [(threads, *each) for threads in (1, 2) for each in of_each]
    assert (measured["utterances"], measured["skipped"], measured["audio_s"]) == (3, 0, 4.5)


def test_word_errors_are_those_of_normalised_text_on_both_sides(measured, place):
    normalise = scoring.normaliser()
    references = [normalise(text) for text in SAID]
    transcriber = Transcriber.from_checkpoint(place / "wordy")
    heard = {("faster-whisper small", "greedy"): list(SAID.values())}
    for decoder in ("greedy", "beam"):
        texts = [transcriber.transcribe(place / f"{number}.wav", decoder).text for number in range(3)]
        heard["wordy", decoder] = texts
    assert any(heard["wordy", "greedy"])
    for row in measured["rows"]:
        hypotheses = [normalise(text) for text in heard[row["system"], row["decoder"]]]
        assert row["wer"] == pytest.approx(jiwer.wer(references, hypotheses))
    peer = measured["rows"][2]
    assert (peer["words"]["substitutions"], peer["words"]["reference"]) == (1, 22)
    assert jiwer.wer(list(SAID), list(SAID.values())) > 0.5, "as they are written"


def test_ratios_are_of_the_times_beside_them_and_times_are_at_least_those_taken(measured):
    for threads in (1, 2):
        rows = [row for row in measured["rows"] if row["threads"] == threads]
        assert rows[0]["times_first"] == 1 and rows[0]["compute_s"] > 0
        for row in rows:
            assert row["times_first"] == pytest.approx(row["compute_s"] / rows[0]["compute_s"])
            assert row["real_time_factor"] == pytest.approx(row["compute_s"] / measured["audio_s"])
        assert rows[2]["compute_s"] >= 3 * 0.2, "the stand-in begins to work when its segments are asked for"


def test_the_peer_gets_samples_and_as_many_threads_as_ours_and_is_greedy_in_float32(log):
    made = [line for line in log if "made" in line]
    options = {"device": "cpu", "compute_type": "float32", "num_workers": 1}
    assert [line["made"] for line in made] == [options | {"cpu_threads": threads} for threads in (1, 2)]
    assert [(line["torch"], line["openmp"]) for line in made] == [(1, "1"), (2, "2")]
    asked = [line for line in log if "asked" in line]
    greedy = {"beam_size": 1, "temperature": 0.0, "language": "en", "without_timestamps": True, "vad_filter": False}
    assert all(line["asked"] == greedy and line["type"] == "float32" for line in asked)
    of_a_round = [16_000, 16_000, 24_000, 32_000]  # the first clip twice: once to warm up
    assert [line["samples"] for line in asked] == 2 * of_a_round


def test_the_table_has_the_figures_and_says_by_what(measured):
    text = compared(measured)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(measured["rows"])
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "| × wordy, greedy |" in lines[0]
    row = measured["rows"][2]
    assert lines[3].startswith("| faster-whisper small | greedy | 1 | 0.0455 |")
    assert f"| {row['real_time_factor']:.4f} | {row['times_first']:.1f} |" in lines[3]
    version = measured["versions"]["whisper-normalizer"]
    assert f"normaliser for English (whisper-normalizer {version})" in text
    assert "faster-whisper 9.9, ctranslate2 9.9" in text and "float32, beam 1" in text
    del measured["versions"]["faster-whisper"]
    assert "float32" not in compared(measured), "no peer was measured"


class Recorded:
    """In a process's place: takes a second for a clip, three where it is called slow, and a hundred the first time."""

    asked: list[tuple[str, str, int]] = []

    def __init__(self, system, threads):
        self.system, self.seconds = system, 3.0 if system.shown == "slow" else 1.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def decoders(self):
        return ["greedy", "beam"] if self.system.shown == "fine" else ["greedy"]

    def read(self, samples, decoder):
        first = not any(asked[:2] == (self.system.shown, decoder) for asked in self.asked)
        self.asked.append((self.system.shown, decoder, len(samples)))
        return "a b", 100.0 if first else self.seconds


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(side_by_side, "Process", Recorded)
    monkeypatch.setattr(Recorded, "asked", [])
    return Recorded


def clips(folder: Path, count: int) -> list[Utterance]:
    utterances = []
    for number in range(count):
        path = folder / f"{number}.wav"
        sf.write(path, speech_like(0.5 + number / 10, number), RATE)
        utterances.append(Utterance(path.stem, path, "a c", 0.5, "x"))
    return utterances


SYSTEMS = [System("fine", "fine"), System("slow", "slow", is_peer=True)]


def test_all_read_a_clip_before_any_reads_the_next_and_they_take_turns(recorded, tmp_path):
    side_by_side.side_by_side(SYSTEMS, clips(tmp_path, 6), 1, str)
    turns = 3
    rounds = [recorded.asked[start : start + turns] for start in range(turns, len(recorded.asked), turns)]
    everyone = {("fine", "greedy"), ("fine", "beam"), ("slow", "greedy")}
    assert len(rounds) == 6 and recorded.asked[:turns][0][2] == rounds[0][0][2], "the first clip is read twice"
    for number, each in enumerate(rounds):
        assert {asked[:2] for asked in each} == everyone
        assert {asked[2] for asked in each} == {round((0.5 + number / 10) * RATE)}
    places = [Counter(asked[:2] for asked in place) for place in zip(*rounds, strict=True)]
    assert all(place == dict.fromkeys(everyone, 2) for place in places), "each has each place equally often"
    followed = Counter(pair for each in rounds for pair in pairwise(asked[:2] for asked in each))
    assert len(followed) == 6 and set(followed.values()) == {2}, "each follows each"


def test_the_first_reading_of_each_does_not_count(recorded, tmp_path):
    outcome = side_by_side.side_by_side(SYSTEMS, clips(tmp_path, 4), 1, str)
    assert [(row.system, row.decoder, row.compute_s, row.times_first) for row in outcome.rows] == [
        ("fine", "greedy", 4.0, 1.0), ("fine", "beam", 4.0, 1.0), ("slow", "greedy", 12.0, 3.0),
    ]  # fmt: skip
    assert outcome.rows[0].words.errors == 4 and outcome.rows[0].words.rate == 0.5
    assert outcome.rows[2].real_time_factor == pytest.approx(12 / (0.5 + 0.6 + 0.7 + 0.8))


def test_a_clip_that_cannot_be_read_is_skipped_by_all_and_told(recorded, tmp_path):
    utterances = clips(tmp_path, 3)
    utterances[0].path.write_text("Dear aunt,\n" * 100)
    outcome = side_by_side.side_by_side(SYSTEMS, utterances, 1, str)
    assert outcome.clips == 2 and [each.id for each in outcome.skipped] == ["0"]
    assert "0.wav is not a WAV file" in outcome.skipped[0].reason
    assert len(recorded.asked) == 3 * 3, "the warm-up is on the first that can be read"
    with pytest.raises(DataError, match="No utterance could be read. 0: 0.wav is not a WAV file"):
        side_by_side.side_by_side(SYSTEMS, utterances[:1], 1, str)


def test_recognisers_are_called_after_their_folders_unless_two_have_one_name():
    shown = [each.shown for each in named(["runs/a/best", "b/best/", "runs/c"], ["faster-whisper:x/base/"])]
    assert shown == ["runs/a/best", "b/best/", "c", "faster-whisper base"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mister smith paid twenty dollars", "Mr. Smith paid $20."),
        ("it is the twenty first of may nineteen hundred and five", "It's the 21st of May, 1905"),
        ("he will not honour doctor jones", "He won't honor Dr. Jones!"),
        ("twenty five percent", "25%"),
    ],
)
def test_what_is_said_alike_is_scored_alike(one, other):
    normalise = scoring.normaliser()
    assert normalise(one) == normalise(other)
    assert not any(character.isdigit() for character in normalise(other))


def test_a_number_counts_as_the_words_that_are_said():
    normalise = scoring.normaliser()
    assert normalise("In 1960 there were 21.") == "in nineteen sixty there were twenty one"
    assert word_errors(normalise("twenty one"), normalise("twenty on")).rate == 0.5


def refusal(run, *arguments) -> str:
    code, out, err = run("benchmark", *arguments)
    assert (code, out) == (2, "") and "Traceback" not in err
    return err.strip().splitlines()[-1]


def test_without_its_package_a_peer_is_a_sentence_with_the_command(run, packages, monkeypatch):
    def version(package: str) -> str:
        if package == lacking:
            raise benchmark.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(benchmark, "version", version)
    lacking = "faster-whisper"
    asked = ("--data", "manifest.tsv", "--checkpoint", "wordy", "--peer", "faster-whisper:small")
    assert refusal(run, *asked) == (
        "--peer faster-whisper needs faster-whisper, which is not installed: pip install faster-whisper"
    )
    lacking = "whisper-normalizer"
    assert refusal(run, *asked) == (
        "A comparison of word errors needs whisper-normalizer, which is not installed: pip install whisper-normalizer"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "gone.tsv"], "There is no file or folder gone.tsv. Name a manifest .tsv or a LibriSpeech folder."),
        (["--data", "manifest.tsv", "--split", "test"], "manifest.tsv has no rows of split 'test'."),
        (["--data", "manifest.tsv", "--peer", "whisper"], "--peer is 'whisper'; it must be faster-whisper:FOLDER."),
        (["--data", "manifest.tsv", "--peer", "faster-whisper:"], "--peer is 'faster-whisper:'; it must be"),
        (["--data", "manifest.tsv", "--peer", "faster-whisper:gone"], "gone is no faster-whisper model: there is no such"),
        (
            ["--data", "manifest.tsv", "--peer", "faster-whisper:wordy"],
            "wordy is no faster-whisper model: it lacks model.bin, tokenizer.json, vocabulary.*. Name a folder with",
        ),
        (["--peer", "faster-whisper:small"], "--peer is measured on recorded speech. Name it with --data MANIFEST."),
        (["--data", "manifest.tsv", "--every", "0"], "argument --every: it is '0'; it must be a whole number from 1 on"),
        (["--data", "manifest.tsv", "--threads", "-1"], "argument --threads: it is '-1'; it must be a whole number"),
        (["--data", "manifest.tsv", "--checkpoint", "gone"], "There is no checkpoint folder gone."),
        (["--checkpoint", "gone"], "There is no checkpoint folder gone."),
    ],
)
def test_what_cannot_be_measured_gets_a_sentence(run, packages, arguments, sentence):
    assert sentence in refusal(run, *arguments)


def test_a_model_that_does_not_load_or_breaks_gets_a_sentence(run, packages, tmp_path):
    samples = np.zeros(RATE, np.float32)
    (whisper(tmp_path / "bad") / "damaged").touch()
    system = System(f"faster-whisper:{tmp_path / 'bad'}", "bad", is_peer=True)
    with (
        side_by_side.Process(system, 1) as process,
        pytest.raises(BenchmarkError, match="faster-whisper cannot load .*bad: Unsupported model binary version[.]$"),
    ):
        process.decoders()
    (whisper(tmp_path / "breaks") / "breaks").touch()
    with side_by_side.Process(System(f"faster-whisper:{tmp_path / 'breaks'}", "breaks", is_peer=True), 1) as process:
        assert process.decoders() == ["greedy"]
        for _ in range(2):  # the second time it has ended
            with pytest.raises(BenchmarkError, match="A process of the benchmark failed.*ValueError: it broke"):
                process.read(samples, "greedy")


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc to find processes in")
def test_ctrl_c_ends_it_with_a_word_and_leaves_no_process(place):
    options = {"cwd": place, "env": environment(place), "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(place), start_new_session=True, **options)
    child = at_work(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith("Stopped.\n")
    assert process.returncode == 130
    assert left_after(10, child) == []
