"""Many recordings: the results of one by one, each once, whatever the batches, the processes and the interruptions."""

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
from jobs import left_after
from synthetic import RATE, speech_like, tiny_model

from asr_core import AudioError, Transcriber, WorkersLost, transcribe_many
from asr_core.many import share
from asr_core.models import ENCODERS

ROOT = Path(__file__).parent.parent


def write_clips(folder: Path, seconds: list[float]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip{number:02d}.wav" for number in range(len(seconds))]
    for number, path in enumerate(paths):
        sf.write(path, speech_like(seconds[number], number), RATE)
    return paths


@pytest.fixture(params=sorted(ENCODERS))
def transcriber(request):
    return Transcriber(tiny_model(request.param))


@pytest.fixture
def reader():
    return Transcriber(tiny_model())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_results_are_those_of_one_by_one(transcriber, tmp_path, decoder, workers):
    lengths = np.random.default_rng(1).uniform(0.1, 4, 11).tolist()
    paths = write_clips(tmp_path, [*lengths, 17.0])  # the last is longer than half a batch
    results = dict(transcribe_many(transcriber, paths, decoder, workers))
    assert sorted(results) == paths
    for path in paths:
        alone = transcriber.transcribe(path, decoder)
        assert_same(results[path], alone)


def assert_same(result, alone) -> None:
    assert torch.allclose(result.emission.log_probs, alone.emission.log_probs, atol=1e-4)
    assert (result.text, result.path) == (alone.text, alone.path)
    for span, other in zip(result.tokens + result.words, alone.tokens + alone.words, strict=True):
        assert (span.label, span.start_s, span.end_s) == (other.label, other.start_s, other.end_s)
        assert span.score == pytest.approx(other.score, abs=1e-4)
    assert np.allclose(result.sound.features[:], alone.sound.features[:], atol=1e-5)
    assert np.array_equal(result.sound.samples[:], alone.sound.samples[:]) and result.sound.name == alone.sound.name


def test_without_a_decoder_it_is_the_one_that_one_by_one_takes(reader, tmp_path):
    paths = write_clips(tmp_path, [1.0, 0.7])
    for path, result in transcribe_many(reader, map(str, paths), workers=0):
        assert_same(result, reader.transcribe(path))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_used_is_given_out_as_the_reason_among_the_rest(reader, tmp_path, workers):
    good = write_clips(tmp_path, [0.5, 1.0, 1.5, 0.8])
    (tmp_path / "letter.wav").write_text("Dear aunt,\n" * 100)
    bad = [tmp_path / "letter.wav", tmp_path / "gone.wav", tmp_path]
    results = dict(transcribe_many(reader, [*bad, *good], workers=workers))
    assert {path for path, result in results.items() if isinstance(result, AudioError)} == set(bad)
    assert "letter.wav is not a WAV file" in str(results[bad[0]])
    assert all(results[path].text == reader.transcribe(path).text for path in good)


def test_an_error_that_nobody_foresaw_is_a_sentence_too_and_stops_nothing(reader, tmp_path):
    paths = write_clips(tmp_path, [0.5, 0.6, 0.7])

    def make(path, transcription):
        return {}[path.name] if path == paths[1] else transcription.duration_s

    results = dict(transcribe_many(reader, paths, workers=0, make=make))
    assert (results[paths[0]], results[paths[2]]) == (0.5, 0.7)
    assert str(results[paths[1]]) == "clip01.wav could not be transcribed: 'clip01.wav'."


def test_the_longest_are_given_out_first(reader, tmp_path):
    paths = write_clips(tmp_path, [1.0, 20.0, 2.0, 16.0])
    assert [path for path, _ in transcribe_many(reader, paths, workers=0)] == [paths[n] for n in (1, 3, 2, 0)]


def test_nothing_gives_nothing(reader):
    assert list(transcribe_many(reader, [])) == []


def test_more_results_than_open_files_are_allowed(reader, tmp_path):
    resource = pytest.importorskip("resource", reason="open files cannot be limited on this system")
    paths = write_clips(tmp_path, [0.2] * 60)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 50, hard))
    try:
        assert len(list(transcribe_many(reader, paths, workers=2))) == 60
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def kill_itself(path, transcription):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_ends_it_with_a_sentence(reader, tmp_path):
    with pytest.raises(WorkersLost, match="perhaps for want of memory"):
        list(transcribe_many(reader, write_clips(tmp_path, [1.0, 1.0]), workers=2, make=kill_itself))


@pytest.mark.parametrize("processes", [1, 2, 3, 13])
def test_shares_leave_nothing_out_take_nothing_twice_and_are_alike(tmp_path, processes):
    lengths = [0.2, 3.0] * 6  # every second one is long: by name alone, one of two processes would have them all
    paths = [*write_clips(tmp_path, lengths), tmp_path / "gone.wav"]
    shares = [share(reversed(paths), rank, processes) for rank in range(processes)]
    assert sorted(path for part in shares for path in part) == sorted(paths)
    if processes == 2:
        assert [sum(sf.info(path).duration for path in part if path.exists()) for part in shares] == [
            pytest.approx(9.6, abs=1.5)
        ] * 2


@pytest.fixture
def job(checkpoint_folder):
    """Starts `python -m asr_core transcribe` with these arguments."""

    def job(*arguments, start: tuple[str, ...] = (), **options) -> subprocess.Popen:
        command = [sys.executable, *start, "-m", "asr_core", "transcribe", "--checkpoint", checkpoint_folder, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, start_new_session=True, **pipes, **options)

    return job


def stopped_midway(process: subprocess.Popen, how: int) -> str:
    """The first line that it wrote, before it was sent the signal."""
    line = process.stdout.readline()
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)  # Ctrl-C reaches every process of a terminal
    return line


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc to find processes in")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_was_stopped_goes_on_with_the_rest_and_leaves_no_process(job, tmp_path, checkpoint_folder, how, code):
    clips = write_clips(tmp_path / "clips", [14.0] * 16 + [4.0] * 8)
    arguments = (tmp_path / "clips", "--out", tmp_path / "out", "--format", "json", "--workers", "2", "--decoder", "beam")
    first = job(*arguments)
    line = stopped_midway(first, how)
    _, err = first.communicate(timeout=60)
    assert first.returncode == code
    assert "Traceback" not in err and (err == "Stopped.\n") == (how == signal.SIGINT)
    assert left_after(10, first.pid) == []
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json")}
    assert Path(line.rstrip("\n")) in before and len(before) < 24

    second = job(*arguments)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0
    assert f"{len(before)} of 24 were there already" in err
    assert sorted(map(Path, out.splitlines())) == sorted(set((tmp_path / "out").glob("*.json")) - set(before))
    assert all(path.read_bytes() == content for path, content in before.items())
    transcriber = Transcriber.from_checkpoint(checkpoint_folder)
    for clip in clips:
        result = json.loads((tmp_path / "out" / f"{clip.stem}.json").read_text())
        assert (result["audio"], result["text"]) == (clip.name, transcriber.transcribe(clip, "beam").text)


def test_torchrun_shares_the_work_and_each_is_done_once(job, tmp_path, checkpoint_folder):
    clips = write_clips(tmp_path / "clips", np.random.default_rng(2).uniform(0.3, 3, 15).tolist())
    (tmp_path / "clips" / "empty.wav").touch()
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    arguments = ("--workers", "1", "--decoder", "greedy", "--format", "json", tmp_path / "clips")
    done = job(*arguments, "--out", tmp_path / "out", start=torchrun)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err  # another code would have made torchrun end the other process
    assert sorted(map(Path, out.splitlines())) == [tmp_path / "out" / f"{clip.stem}.json" for clip in clips]
    assert err.count("empty.wav is empty") == 1
    transcriber = Transcriber.from_checkpoint(checkpoint_folder)
    for clip in clips:
        result = json.loads((tmp_path / "out" / f"{clip.stem}.json").read_text())
        assert result["text"] == transcriber.transcribe(clip, "greedy").text


def test_under_torchrun_lines_would_mix_and_a_folder_is_asked_for(job, clip_path):
    asked = job(clip_path, env={**os.environ, "WORLD_SIZE": "2", "RANK": "1"})
    out, err = asked.communicate(timeout=60)
    assert (asked.returncode, out) == (2, "") and "--out" in err


AFTER_THREADS = """
import sys
from asr_core import Transcriber, transcribe_many
from pathlib import Path
transcriber = Transcriber.from_checkpoint(sys.argv[1])
paths = [Path(path) for path in sys.argv[2:]]
alone = [transcriber.transcribe(path).text for path in paths]
many = dict(transcribe_many(transcriber, paths, workers=2))
assert [many[path].text for path in paths] == alone
"""


def test_processes_can_start_when_threads_have_been_at_work(tmp_path, checkpoint_folder):
    paths = write_clips(tmp_path, [6.0, 8.0, 5.0, 3.0])
    command = [sys.executable, "-c", AFTER_THREADS, str(checkpoint_folder), *map(str, paths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
