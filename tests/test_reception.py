"""Many people with one model: everybody gets the result of being alone, in turn, or a sentence at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from jobs import left_after
from synthetic import RATE, speech_like, tiny_model

from asr_core import AudioError, Transcriber, reception, spool
from asr_core import worker as workers
from asr_core.reception import Busy, Left, Line, NotServed, Reception
from asr_core.worker import Worker

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber(tiny_model())


@pytest.fixture
def desk(transcriber):
    opened = Reception(transcriber, workers=2)
    yield opened
    opened.close()


@pytest.fixture
def held(desk):
    """A reception whose processes for short recordings have stopped where they are, until the test lets them go on."""
    for worker in desk.short.workers:
        os.kill(worker.process.pid, signal.SIGSTOP)
    return desk


def go_on(desk: Reception) -> None:
    for worker in desk.short.workers:
        os.kill(worker.process.pid, signal.SIGCONT)


def clip(folder: Path, seconds: float, seed: int = 0) -> Path:
    path = folder / f"{seed}-{seconds}.wav"
    sf.write(path, speech_like(seconds, seed), RATE)
    return path


def wait_until(true) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def occupy(desk: Reception, path: Path, visitor: str = "") -> list:
    """A recording for each process for short ones, begun."""
    tickets = []
    for number in range(len(desk.short.workers)):
        tickets.append(desk.enter(path, visitor=visitor))
        wait_until(lambda number=number: len(desk.short.working) == number + 1)
    return tickets


def test_everybody_gets_the_result_of_being_alone(desk, transcriber, tmp_path):
    lengths = np.random.default_rng(3).uniform(0.2, 9, 24).tolist()
    paths = [clip(tmp_path, seconds, seed) for seed, seconds in enumerate([*lengths, 45.0])]  # the last is a long one
    tickets = {}

    def come(path: Path) -> None:
        tickets[path] = desk.enter(path, ("greedy", "beam"))

    people = [threading.Thread(target=come, args=(path,)) for path in paths]
    for person in people:
        person.start()
    for person in people:
        person.join()
    for path in paths:
        letters, words = tickets[path].result()
        assert letters.emission is words.emission and letters.sound is words.sound
        for reading, decoder in ((letters, "greedy"), (words, "beam")):
            alone = transcriber.transcribe(path, decoder)
            assert (reading.text, reading.path, reading.sound.name) == (alone.text, alone.path, path.name)
            assert torch.allclose(reading.emission.log_probs, alone.emission.log_probs, atol=1e-4)


def test_waiting_clips_are_read_in_batches_and_one_bad_file_never_touches_its_neighbours(held, tmp_path, monkeypatch):
    handed = []
    read = Worker.read

    def noted(worker, batch):
        handed.append(len(batch))
        return read(worker, batch)

    monkeypatch.setattr(Worker, "read", noted)
    letter = tmp_path / "letter.wav"
    letter.write_text("Dear aunt,\n" * 100)
    first = occupy(held, clip(tmp_path, 1.0))
    paths = [clip(tmp_path, 2.0, seed) for seed in range(2, 8)]
    paths[2:2] = [letter, tmp_path / "gone.wav"]
    tickets = [held.enter(path) for path in paths]
    assert [ticket.place.number for ticket in tickets] == list(range(1, 9))
    waits = [ticket.place.wait_s for ticket in tickets]
    assert waits == sorted(waits) and waits[0] < waits[-1]
    go_on(held)
    for path, ticket in zip(paths, tickets, strict=True):
        if path.exists() and path != letter:
            assert ticket.result()[0].text
        else:
            with pytest.raises(AudioError, match=r"letter\.wav is not a WAV file|There is no file"):
                ticket.result()
    assert all(ticket.result() for ticket in first)
    assert handed[:2] == [1, 1] and max(handed) >= 3 and sum(handed) == 10


def test_whoever_leaves_makes_room_for_the_next(held, tmp_path):
    path = clip(tmp_path, 1.0)
    first = occupy(held, path, "ann")
    tickets = [held.enter(path, visitor=visitor) for visitor in ("bob", "ann", "bob", "cy")]
    assert [ticket.place.number for ticket in tickets] == [1, 2, 3, 4]
    held.leave("ann")  # too late for the first two, which are being read
    assert [ticket.place.number for ticket in (tickets[0], *tickets[2:])] == [1, 2, 3]
    with pytest.raises(Left):
        tickets[1].result()
    go_on(held)
    assert all(ticket.result() for ticket in (*first, tickets[0], *tickets[2:]))


def test_a_long_recording_that_is_on_disk_is_handed_over_and_tells_how_far_it_is(transcriber, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "TELL_EVERY_S", 0.0)
    monkeypatch.setattr(spool, "MOST_IN_MEMORY", 100_000)
    opened = Reception(transcriber, workers=1)  # its processes have the limits above
    path = clip(tmp_path, 70.0)
    seen = []
    ticket = opened.enter(path, ("greedy",))
    while not ticket.future.done():
        seen.append(ticket.so_far)
    (reading,) = ticket.result()
    alone = transcriber.transcribe(path, "greedy")
    assert reading.path == alone.path
    for got, expected in ((reading.sound.samples, alone.sound.samples), (reading.sound.features, alone.sound.features)):
        assert np.array_equal(got[:], expected[:]) and np.array_equal(got[1_000:1_500], expected[1_000:1_500])
    told = [so_far for so_far in dict.fromkeys(seen) if so_far]
    assert told and all(so_far.whole_s == pytest.approx(70.0) for so_far in told)
    assert [so_far.done_s for so_far in told] == sorted(so_far.done_s for so_far in told)
    opened.close()


def test_what_is_read_for_somebody_alone_ends_when_they_leave(transcriber, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "TELL_EVERY_S", 0.0)
    opened = Reception(transcriber, workers=1)
    begun = opened.enter(clip(tmp_path, 600.0), ("greedy",), visitor="gone")
    waiting = opened.enter(clip(tmp_path, 40.0), ("greedy",), visitor="here")
    wait_until(lambda: begun.so_far)
    opened.leave("gone")
    with pytest.raises(Left):
        begun.result()
    assert begun.so_far.done_s < 600
    assert waiting.result()[0].duration_s == pytest.approx(40.0)
    opened.close()


def test_nobody_is_let_in_to_wait_longer_than_is_bearable_and_the_sentence_says_when_to_come_again(held, tmp_path):
    path = clip(tmp_path, 10.0)
    held.short.work_s, held.short.audio_s = 1.0, 1.0  # as if a second of audio took a second: 5 s for each of two processes
    first = occupy(held, path)
    for _ in range(5):  # the last of them finds 30 s of work
        held.enter(path, visitor="ann")
    assert reception.SHORT_WAIT_S == 30.0
    with pytest.raises(Busy, match="^7 people are being served just now. Try again in 5 seconds.$"):
        held.enter(path)
    long = held.enter(clip(tmp_path, 40.0))  # another line
    assert long.result()
    held.leave("ann")
    last = held.enter(path)
    go_on(held)
    assert all(ticket.result() for ticket in (*first, last))


def test_how_long_work_takes_is_learnt(desk, tmp_path):
    path, line = clip(tmp_path, 2.0), desk.short
    line.work_s, line.audio_s = 100.0, 1.0  # a wild guess
    for _ in range(40):
        desk.enter(path).result()
    wait_until(lambda: not line.working)
    assert line.work_s / line.audio_s < 5.0  # what is left of it: 100 * 0.9 ** 40 / 20


def test_a_long_recording_holds_up_no_short_one(desk, tmp_path):
    long = desk.enter(clip(tmp_path, 150.0), ("beam",))
    path = clip(tmp_path, 1.0)
    for _ in range(3):
        desk.enter(path, ("greedy",)).result()
    assert not long.future.done()
    assert long.place.number == 0
    assert long.result()[0].duration_s == 150.0


def test_a_process_that_is_lost_takes_nothing_with_it_but_what_it_was_lost_with(held, tmp_path):
    path = clip(tmp_path, 1.0)
    first = occupy(held, path)
    waiting = [held.enter(path) for _ in range(8)]
    for worker in list(held.short.workers):
        worker.process.kill()
    for ticket in first:  # each was alone with its process
        with pytest.raises(AudioError, match="perhaps for want of memory. Try a shorter one"):
            ticket.result()
    assert len({ticket.result()[0].text for ticket in waiting}) == 1


def test_neighbours_of_one_that_is_too_much_are_read_after_all(transcriber, tmp_path, monkeypatch):
    """The process dies as often as it is given a certain recording."""
    path, deadly = clip(tmp_path, 1.0), clip(tmp_path, 1.0, 7)
    alone = transcriber.transcribe(path).text
    transcribe, features = Transcriber.transcribe, transcriber.log_mel.forward

    def read(self, source, decoder=None):
        if source == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return transcribe(self, source, decoder)

    level = speech_like(1.0, 7)[100]

    def listen(samples):
        if abs(float(samples[100]) - level) < 1e-4:
            os.kill(os.getpid(), signal.SIGKILL)
        return features(samples)

    monkeypatch.setattr(Transcriber, "transcribe", read)
    monkeypatch.setattr(transcriber.log_mel, "forward", listen)
    line = Line([Worker(transcriber, 0)], 30.0)
    first = line.enter(reception.Asked(path, (None,)), "", 1.0)
    tickets = [line.enter(reception.Asked(each, (None,)), "", 1.0) for each in (path, path, deadly, path)]
    with pytest.raises(AudioError, match="7-1.0.wav took down the process"):
        tickets[2].result()
    assert {ticket.result()[0].text for ticket in (first, *tickets[:2], tickets[3])} == {alone}
    line.close()


def test_when_it_closes_everybody_is_told(held, tmp_path):
    path = clip(tmp_path, 1.0)
    tickets = occupy(held, path) + [held.enter(path) for _ in range(3)]
    held.close()
    for ticket in tickets:
        with pytest.raises(NotServed, match="closing"):
            ticket.result()


def test_a_process_that_nobody_can_ask_any_more_ends_in_peace(transcriber):
    worker = Worker(transcriber, 0)
    worker.pipe.close()
    worker.process.join(30)
    assert worker.process.exitcode == 0  # 1: with a traceback


SERVE = """
import sys, time
from asr_core import Transcriber
from asr_core.reception import Reception
desk = Reception(Transcriber.from_checkpoint(sys.argv[1]), workers=2)
print("open", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc to find processes in")
def test_its_processes_end_with_it(checkpoint_folder):
    command = [sys.executable, "-c", SERVE, str(checkpoint_folder)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stdout.readline() == "open\n"
    server.kill()
    server.wait()
    assert left_after(10, server.pid) == []
