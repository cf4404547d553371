"""train.py as people run it, on a language of three letters, each a tone of its own frequency."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic import tiny_model, toy_corpus, write_manifest

import train
from asr_core import checkpoint

ROOT = Path(__file__).parent.parent
EPOCHS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The corpus, and the runs. A preset's state is hundreds of megabytes, so nothing of it is kept."""
    folder = tmp_path_factory.mktemp("train")
    utterances = toy_corpus(folder, 14)
    rows = [(utterance, "valid" if number < 2 else "train") for number, utterance in enumerate(utterances)]
    gone = (replace(utterances[-1], path=folder / "gone.wav"), "train")
    write_manifest(folder / "m.tsv", [*rows, gone])
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def command(folder: Path, out: str, *options: str) -> list[str]:
    """Four steps an epoch: thirteen utterances, one of them missing."""
    recipe = ["--epochs", str(EPOCHS), "--batch-size", "4", "--max-lr", "1e-3", "--workers", "0"]
    return [sys.executable, "train.py", "--data", str(folder / "m.tsv"), "--out", str(folder / out), *recipe, *options]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments, **options), cwd=ROOT, capture_output=True, text=True, timeout=300)


def weights(folder: Path, out: str) -> bytes:
    return (folder / out / "last" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(folder):
    """A run that nothing disturbed."""
    done = run(folder, "whole")
    assert done.returncode == 0, done.stderr
    return done


def test_the_loss_falls(finished, folder):
    losses = [float(loss) for loss in re.findall(r"validation loss ([\d.]+)", finished.stdout)]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.8 * losses[0]
    history = checkpoint.load(folder / "whole" / "last").training["history"]
    assert [round(epoch["loss"], 3) for epoch in history] == losses


def test_the_final_test_is_printed_and_its_checkpoint_loads(finished, folder):
    (line,) = re.findall(r"final test of (.*?): (\{.*\})", finished.stdout)
    assert line[0] == str(folder / "whole" / "best")
    assert json.loads(line[1])["utterances"] == 2
    assert checkpoint.load(line[0]).encoder.parameter_count > 1_000_000


def test_a_missing_file_is_reported_once_skipped_and_counted(finished):
    assert finished.stdout.count("Skipped gone: There is no file") == 1
    assert finished.stdout.count("1 utterances skipped in training") == EPOCHS


def test_a_run_stopped_and_continued_ends_with_the_same_weights(finished, folder):
    stopped = run(folder, "pieces", "--max-minutes", "0.0")
    assert stopped.returncode == 0
    assert "Stopped after step 1; the same command goes on from here." in stopped.stdout
    continued = run(folder, "pieces")
    assert continued.returncode == 0 and "1 steps done" in continued.stdout
    assert weights(folder, "pieces") == weights(folder, "whole")


def test_killed_at_any_moment_it_goes_on_from_the_last_save(finished, folder):
    draw = random.Random(0)
    for _ in range(3):
        with subprocess.Popen(command(folder, "killed"), cwd=ROOT, stdout=-1, stderr=subprocess.DEVNULL, text=True) as job:
            next((line for line in job.stdout if "steps done" in line), None)  # it trains, and writes after every epoch
            time.sleep(draw.uniform(0.3, 2.0))
            job.kill()
    assert run(folder, "killed").returncode == 0
    assert weights(folder, "killed") == weights(folder, "whole")
    assert not list((folder / "killed").glob("*.tmp*")), "nor is half a file left behind for ever"


def test_ctrl_c_saves_the_state_and_says_how_to_go_on(folder):
    process = subprocess.Popen(command(folder, "interrupted", "--epochs", "500"), cwd=ROOT, stdout=-1, stderr=-1, text=True)
    for line in process.stdout:
        if line.startswith("epoch 1:"):  # in the middle of training, whatever it is doing
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Stopped after step" in out and "Traceback" not in err
    assert (folder / "interrupted" / "state.safetensors").exists()
    shutil.rmtree(folder / "interrupted")


@pytest.fixture
def main(monkeypatch, capsys):
    """train.py's main() in this process, for what it refuses -> (exit code, standard output, standard error)."""

    def main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        try:
            code = train.main()
        except SystemExit as left:  # argparse
            code = left.code
        return code, *capsys.readouterr()

    threads = torch.get_num_threads()
    yield main
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("option", "value"), [("--max-lr", "5e-4"), ("--epochs", "7"), ("--seed", "3")])
def test_other_settings_over_an_existing_run_are_refused(finished, folder, main, option, value):
    before = weights(folder, "whole")
    code, _, err = main(*command(folder, "whole", option, value)[2:])
    assert code == 2
    assert "other settings" in err and "--out" in err and len(err.splitlines()) == 1
    assert weights(folder, "whole") == before


def test_consistency_hides_two_and_a_half_times_as_much_in_time(monkeypatch):
    """As Yao et al. 2024 (arXiv 2410.05101, section 3) do; nothing else changes."""
    drawn = []
    for more in ([], ["--consistency", "0.2"]):
        monkeypatch.setattr(sys, "argv", ["train.py", "--data", "m.tsv", "--out", "run", *more])
        drawn.append(train.configuration(train.arguments(), torch.device("cpu")).augmentation)
    plain, consistent = drawn
    assert abs(consistent.time_masks - 2.5 * plain.time_masks) <= 0.5
    assert replace(consistent, time_masks=plain.time_masks) == plain


def manifest_without(folder: Path, split: str) -> str:
    lines = (folder / "m.tsv").read_text().splitlines()
    path = folder / f"no_{split}.tsv"
    path.write_text("\n".join(line for line in lines if f"\t{split}\t" not in line) + "\n")
    return str(path)


def refused(main, tmp_path, *arguments: str) -> str:
    """The one line with which train.py refuses to start."""
    code, out, err = main("--out", str(tmp_path / "run"), "--workers", "0", *arguments)
    assert code == 2, out
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    return err


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_manifest_without_a_split_is_refused(folder, main, tmp_path, split):
    assert f"'{split}'" in refused(main, tmp_path, "--data", manifest_without(folder, split))


def test_of_several_manifests_all_are_trained_on_and_the_first_validates(folder, main, tmp_path):
    manifests = ["--data", str(folder / "m.tsv"), manifest_without(folder, "valid")]
    code, said, _ = main("--out", str(tmp_path / "run"), "--workers", "0", "--max-minutes", "0", *manifests)
    assert code == 0 and "26 training utterances" in said and "2 validation utterances" in said


def test_data_that_are_not_there_are_refused(main, tmp_path):
    assert "nowhere" in refused(main, tmp_path, "--data", str(tmp_path / "nowhere"))


def test_a_run_without_a_training_speaker_left_is_refused(folder, main, tmp_path):
    (tmp_path / "speakers.txt").write_text("speaker0\nspeaker1\n")
    arguments = ["--data", str(folder / "m.tsv"), "--exclude-speakers", str(tmp_path / "speakers.txt"), "--epochs", "1"]
    assert "--exclude-speakers" in refused(main, tmp_path, *arguments)


@pytest.mark.parametrize(("option", "value"), [("--epochs", "0"), ("--batch-size", "0"), ("--max-lr", "-1")])
def test_a_recipe_that_cannot_train_is_refused(folder, main, tmp_path, option, value):
    code, _, err = main("--out", str(tmp_path / "run"), "--data", str(folder / "m.tsv"), "--max-minutes", "0", option, value)
    assert code == 2 and option in err


def test_a_start_from_another_encoder_is_refused(folder, main, tmp_path):
    tiny_model().save(tmp_path / "start")
    assert "start" in refused(main, tmp_path, "--data", str(folder / "m.tsv"), "--init-from", str(tmp_path / "start"))


def test_a_damaged_replay_is_named(folder, main, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "replay.safetensors").write_bytes(b"no replay")
    code, _, err = main("--data", str(folder / "m.tsv"), "--out", str(tmp_path / "run"), "--max-minutes", "0")
    assert code == 2 and err.endswith("replay.safetensors is not the replay of a training, or is damaged.\n")


def test_the_starting_script_trains_an_epoch(folder, main):
    out = folder / "starting"
    options = ["--preset", "deepspeech2", "--epochs", "1", "--batch-size", "13", "--workers", "0"]
    code, printed, _ = main("--data", str(folder / "m.tsv"), "--out", str(out), *options)
    assert code == 0
    assert "31,055,645 parameters" in printed and "final test" in printed
    assert checkpoint.load(out / "best").encoder.parameter_count == 31_055_645
    shutil.rmtree(out)
