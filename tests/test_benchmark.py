"""The benchmark runs, says what it measured and on what, and its figures agree with one another. No figure is judged."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from jobs import at_work, left_after
from synthetic import tiny_model

from asr_core import audio, benchmark
from asr_core.commands.benchmark import table

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    tiny_model().save(tiny := tmp_path_factory.mktemp("models") / "tiny")
    command = [sys.executable, "-m", "asr_core", "benchmark", "--smoke", "--format", "json", "--threads", "1"]
    command += ["--checkpoint", "checkpoints/fast", "--checkpoint", str(tiny)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[2:5] == ["measuring: deepspeech2", "measuring: wav2vec2_base", "measuring: Conformer"]
    return json.loads(done.stdout)


def test_every_system_is_measured_in_all_its_parts(measured):
    rows = {row["system"]: row for row in measured["rows"]}
    assert list(rows) == ["fast", "tiny", "deepspeech2", "wav2vec2_base", "Conformer"]
    assert all(row["clip_s"] == 1.0 and row["encoder_s"] > 0 and row["greedy_s"] > 0 for row in rows.values())
    assert {name for name, row in rows.items() if row["features_s"] is None} == {"wav2vec2_base"}
    assert {name for name, row in rows.items() if row["beam_s"]} == {"fast"}, "it alone has a language model"
    assert (rows["fast"]["parameters"], rows["deepspeech2"]["parameters"]) == (7_762_461, 31_055_645)
    assert 94_000_000 < rows["wav2vec2_base"]["parameters"] < 95_000_000, "95 M in the paper"
    assert measured["threads"] == 1 and measured["versions"]["torch"] == torch.__version__.split("+")[0]


def test_ratios_are_of_the_figures_beside_them(measured):
    own = measured["rows"][0]
    for row in measured["rows"]:
        assert row["times_ours"] == pytest.approx(row["whole_s"] / own["whole_s"])
        assert row["real_time_factor"] == pytest.approx(row["whole_s"] / row["clip_s"])
    start = measured["start"]
    assert start["over_imports_s"] == pytest.approx(start["first_answer_s"] - start["imports_s"])


def test_the_largest_model_needs_the_most_memory_and_peaks_do_not_add_up(measured):
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell how much memory a process held")
    memory = {row["system"]: row["peak_memory"] for row in measured["rows"]}
    assert max(memory, key=memory.get) == "wav2vec2_base"
    assert memory["Conformer"] < memory["wav2vec2_base"], "which was measured before it"


def test_the_table_has_a_row_for_every_measurement(measured):
    lines = [line for line in table(measured).splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(measured["rows"])
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "7,762,461" in lines[1] and measured["processor"] in table(measured)


def test_clips_are_the_examples_joined_and_as_long_as_they_are_said_to_be(tmp_path):
    short, long = benchmark.write_clips(tmp_path, [0.5, 20.0])
    assert (sf.info(short).duration, sf.info(long).duration) == (0.5, 20.0)
    first = audio.load(min(benchmark.EXAMPLES.glob("*.mp3")))
    assert np.allclose(audio.load(short), first[:8_000], atol=1e-3)
    assert np.allclose(audio.load(long)[: len(first)], first, atol=1e-3)


def test_peak_memory_is_at_least_what_was_held_and_stays():
    if benchmark.peak_memory() is None:
        pytest.skip("this system does not tell")
    before = benchmark.peak_memory()
    held = np.ones(50_000_000)
    with_it = benchmark.peak_memory()
    del held
    assert with_it >= max(before, 400_000_000)
    assert benchmark.peak_memory() >= 0.99 * with_it, "the kernel counts pages of each core in lots"


def test_the_conformer_reads_a_quarter_of_the_frames_into_the_alphabet():
    logits = benchmark.Conformer(width=16, layers=1)(torch.zeros(101, 80))
    assert logits.shape == (1, 26, 29)


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc to find processes in")
def test_ctrl_c_ends_it_with_a_word_and_leaves_no_process():
    command = [sys.executable, "-m", "asr_core", "benchmark", "--smoke"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr.readline().startswith("measuring: ")
    child = at_work(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "Stopped.\n"
    assert process.returncode == 130
    assert left_after(10, child) == [], "it had a session of its own"


def test_a_process_that_fails_is_a_sentence():
    with pytest.raises(benchmark.BenchmarkError, match="A process of the benchmark failed.*No such thing"):
        benchmark._python("raise SystemExit('No such thing')", 1)
