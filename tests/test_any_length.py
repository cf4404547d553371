"""Long recordings: the text and the times of the whole, in memory that does not grow with the length."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from speech import long_speech
from synthetic import RATE, speech_like, tiny_model

from asr_core import DEFAULT_CHECKPOINT, AudioError, Emission, Transcriber
from asr_core import spool as spool_module
from asr_core.transcription import Transcription

# The shipped model sees 41 s to each side, a window 16 s at least. What lies further away moved no probability by more than
# 0.0002 in twenty minutes of this speech: only letters that are as probable as each other could change.
MOST_MOVED = 0.001


@pytest.fixture(scope="module")
def shipped():
    return Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)


@pytest.fixture
def tiny():
    return Transcriber(tiny_model())


@torch.no_grad()
def at_once(transcriber: Transcriber, samples: np.ndarray) -> torch.Tensor:
    """(T', V) log-probabilities: one tensor of features, encoded in one piece."""
    return transcriber.emission(samples).log_probs


@pytest.mark.parametrize("minutes", [2, 5])
def test_read_in_windows_it_is_the_whole_in_text_and_times(shipped, minutes):
    samples = long_speech(minutes)
    read = shipped.transcribe((RATE, samples), "greedy")
    log_probs = at_once(shipped, samples)
    whole = shipped.read(Emission(log_probs, read.emission.frame_s, read.emission.alphabet), read.sound, "greedy")
    assert len(read.path) == len(whole.path)
    assert (read.emission.log_probs.exp() - log_probs.exp()).abs().max() < MOST_MOVED
    assert read.text == whole.text != ""
    assert [(word.start_s, word.end_s) for word in read.words] == [(word.start_s, word.end_s) for word in whole.words]


@pytest.mark.parametrize("minutes", [2, 5])
def test_a_model_that_sees_no_further_than_the_context_reads_exactly_the_same(tiny, minutes):
    samples = long_speech(minutes)
    read, log_probs = tiny.transcribe((RATE, samples), "greedy"), at_once(tiny, samples)
    assert (read.emission.log_probs - log_probs).abs().max() < 1e-4  # float32's rounding
    best, second = log_probs.topk(2).values.T
    sure = best - second > 2e-4
    assert sure.float().mean() > 0.99
    assert torch.equal(torch.tensor(read.path)[sure], log_probs.argmax(-1)[sure])
    assert np.allclose(read.sound.features[:], tiny.log_mel(torch.from_numpy(samples)).numpy(), atol=1e-4)
    assert np.array_equal(read.sound.samples[:], samples)


def test_a_long_file_at_another_rate_is_heard_as_an_array_is(tiny, tmp_path):
    samples = np.repeat(speech_like(90.0), 3)
    sf.write(tmp_path / "clip.flac", np.stack([samples, samples], axis=1), 3 * RATE)
    file, array = (tiny.transcribe(source, "greedy") for source in (tmp_path / "clip.flac", (3 * RATE, samples)))
    assert len(file.path) == len(array.path) and (file.sound.name, array.sound.name) == ("clip.flac", "recording")
    assert torch.allclose(file.emission.log_probs, array.emission.log_probs, atol=1e-2)  # FLAC has 16 bits


PEAK = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import torch
torch.set_num_threads(1)
from synthetic import tiny_model
from asr_core import Transcriber
result = Transcriber(tiny_model()).transcribe(sys.argv[1], "greedy")
# Not ru_maxrss, in which the process counts that this one was forked from.
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0], result.duration_s, len(result.path))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells it so")
def test_two_hours_take_hardly_more_memory_than_ten_minutes(tmp_path):
    tests = Path(__file__).parent
    minute = np.round(long_speech(1) * 32_767).astype(np.int16)
    program, peaks = PEAK.format(root=str(tests.parent), tests=str(tests)), {}
    for minutes in (10, 120):
        path = tmp_path / f"{minutes}.flac"
        with sf.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        command = [sys.executable, "-c", program, str(path)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.split()
        assert float(out[1]) == 60 * minutes and int(out[2]) == 1500 * minutes + 1
        peaks[minutes] = int(out[0])
    assert peaks[120] < 1.15 * peaks[10]


class Stop(Exception):
    pass


def stop_at(doing: str, seconds: float):
    def progress(now: str, done_s: float, whole_s: float | None) -> None:
        if now == doing and done_s >= seconds:
            raise Stop

    return progress


def files_in(folder: Path) -> int:
    """Files that this process holds open there, named or not."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += str(folder) in os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # that of the listing itself
            continue
    return count


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to find open files in")
@pytest.mark.parametrize(("doing", "seconds"), [("listening", 100.0), ("reading", 60.0)])
def test_what_progress_raises_ends_the_work_and_leaves_nothing(tiny, tmp_path, monkeypatch, doing, seconds):
    sf.write(tmp_path / "clip.wav", speech_like(180.0), RATE)
    (tmp_path / "spools").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spools"))
    monkeypatch.setattr(spool_module, "MOST_IN_MEMORY", 1)
    with pytest.raises(Stop):
        tiny.transcribe(tmp_path / "clip.wav", "beam", stop_at(doing, seconds))
    assert files_in(tmp_path) == 0 and list((tmp_path / "spools").iterdir()) == []
    result = tiny.transcribe(tmp_path / "clip.wav", "greedy")
    assert files_in(tmp_path / "spools") == 2 and list((tmp_path / "spools").iterdir()) == []
    del result
    assert files_in(tmp_path) == 0


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_progress_never_goes_back_and_reaches_the_end(tiny, tmp_path, decoder):
    sf.write(tmp_path / "clip.wav", speech_like(130.0), RATE)
    told: list[tuple] = []
    tiny.transcribe(tmp_path / "clip.wav", decoder, lambda *each: told.append(each))
    for doing in ("listening", "reading")[: 1 + (decoder == "beam")]:
        done = [done_s for now, done_s, _ in told if now == doing]
        assert len(done) > 2 and done == sorted(done) and done[-1] == 130.0
    assert {whole_s for _, _, whole_s in told} == {130.0}


def test_a_full_disk_is_said_in_a_sentence(tiny, monkeypatch):
    class Full:
        def write(self, content: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module, "MOST_IN_MEMORY", 1)
    monkeypatch.setattr(spool_module, "TemporaryFile", Full)
    with pytest.raises(AudioError, match="The disk is full: there is no room for the sound. Make room in "):
        tiny.transcribe((RATE, speech_like(1.0)))


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("convention", ["spike", "boundary", "energy"])
def test_a_part_has_the_spans_of_the_whole_from_its_time_on(shipped, decoder, convention):
    whole = shipped.transcribe((RATE, long_speech(0.75)), decoder).with_convention(convention)
    longest = max(range(1, len(whole.words)), key=lambda n: whole.words[n].first - whole.words[n - 1].last)
    before, after = whole.words[longest - 1], whole.words[longest]
    assert after.start_s - before.end_s > 1.0  # or the letters beside the cut may differ
    cut_s = (before.last + after.first) // 2 * whole.emission.frame_s
    parts = whole.between(0.0, cut_s), whole.between(cut_s, whole.sound.end_s)
    assert [part.text for part in parts] == [whole.text[: -len(parts[1].text) - 1], parts[1].text]
    assert sum((part.path for part in parts), ()) == whole.path
    assert sum(part.duration_s for part in parts) == pytest.approx(whole.duration_s)
    for spans, wholes in ((parts[0].words + parts[1].words, whole.words), (parts[0].tokens + parts[1].tokens, whole.tokens)):
        assert [span.label for span in spans] == [span.label for span in wholes]
        times = [[(span.start_s, span.end_s, span.score) for span in each] for each in (spans, wholes)]
        assert np.allclose(*times, atol=1e-6)
    assert {*parts[0].warnings.values(), *parts[1].warnings.values()} == set(whole.warnings.values())
    assert np.allclose(parts[1].sound.loudness, whole.sound.loudness[-len(parts[1].sound.loudness) :])
    again = parts[1].between(parts[1].sound.start_s, parts[1].words[3].end_s + 0.02)
    assert again.words[1] == parts[1].words[1] and isinstance(again, Transcription)
