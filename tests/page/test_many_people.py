"""Many people on one page: everybody gets the same as alone, sees their place in line, and nobody waits for who has left."""

import asyncio
import gc
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile as sf
from actions import EXAMPLES, visitor, wait_for_words, wait_until, words_of
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from load_test import Speaker, at_once
from speech import long_speech
from synthetic import RATE

import app
from asr_core import AudioError, audio
from asr_core.page import waiting
from asr_core.reception import Left, Reception

CLIP = EXAMPLES[0].path


def test_eight_clients_at_once_get_what_each_would_alone_and_a_live_stream_goes_on(url, transcriber):
    paths = [EXAMPLES[number % len(EXAMPLES)].path for number in range(8)]
    with Speaker(url, audio.load(CLIP)) as speaker:
        time.sleep(0.5)
        load = at_once(url, paths)
    assert not load.errors
    assert list(load.answers) == [transcriber.transcribe(path).text for path in paths]
    # A generous limit: a caption that came in its turn among the clips would come after all of them.
    assert len(speaker.delays) > 2 and sorted(speaker.delays)[len(speaker.delays) // 2] < max(load.seconds)


@pytest.fixture(scope="module")
def own_page(transcriber):
    """A page and its reception, which nobody else uses."""
    made = []

    class Noted(Reception):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Reception", Noted)
        page = app.build(transcriber)
    _, own_url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    yield own_url, made[0]
    page.close()
    made[0].close()


@pytest.fixture
def full(own_page):
    """Its processes for short recordings have stopped, each with one, until they are sent on."""
    own_url, desk = own_page
    pids = [worker.process.pid for worker in desk.short.workers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for number in range(len(pids)):
        desk.enter(CLIP)
        wait_until(lambda number=number: len(desk.short.working) == number + 1)

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    yield own_url, desk, go_on
    go_on()
    wait_until(lambda: not desk.short.working and not desk.short.waiting)


@contextmanager
def sent(browser, url: str, path: Path = CLIP) -> Iterator:
    """A visitor who has just sent a recording."""
    with visitor(browser, url) as tab:
        tab.get_by_label("Upload file").first.click()
        tab.locator("input[type=file]").first.set_input_files(path)
        yield tab


def test_the_place_in_line_is_in_sight_and_then_the_words(full, browser, transcriber):
    url, desk, go_on = full
    desk.enter(CLIP, visitor="somebody before")
    with sent(browser, url) as tab:
        tab.get_by_text("You are second in line").first.wait_for()
        desk.leave("somebody before")
        tab.get_by_text("You are first in line").first.wait_for()
        go_on()
        tab.wait_for_selector(".ctc-lens .word")
        assert words_of(tab) == [word.label for word in transcriber.transcribe(CLIP, "greedy").words]


def test_whoever_closes_the_page_leaves_the_line(full, browser):
    url, desk, _ = full
    with sent(browser, url):
        wait_until(lambda: desk.short.waiting)
    wait_until(lambda: not desk.short.waiting)


def test_what_is_chosen_while_another_is_at_work_comes_after_it(full, browser, transcriber):
    url, desk, go_on = full
    with sent(browser, url) as tab:
        wait_until(lambda: desk.short.waiting)
        for example in (EXAMPLES[3], EXAMPLES[2], EXAMPLES[1]):
            with tab.expect_response(re.compile("queue/join")):  # nobody clicks so fast that requests overtake each other
                tab.get_by_role("button", name=" ".join(example.text.split()[:4])).click()
        go_on()
        wait_for_words(tab, transcriber.transcribe(EXAMPLES[1].path, "greedy").text.split())


def test_when_the_line_is_too_long_one_is_told_when_to_come_again(full):
    url, desk, _ = full
    before = desk.short.work_s, desk.short.audio_s
    desk.short.work_s, desk.short.audio_s = 100.0, 1.0
    desk.enter(CLIP, visitor="somebody before")
    people = len(desk.short.working) + 1
    with pytest.raises(
        AppError, match=rf"^{people} people are being served just now. Try again in \d+ (seconds|minutes)\.$"
    ):
        Client(url, verbose=False).predict(handle_file(CLIP), api_name="/transcribe")
    desk.short.work_s, desk.short.audio_s = before
    desk.leave("somebody before")


def test_a_bad_file_leaves_no_complaint_in_the_servers_log(own_page, tmp_path):
    _, desk = own_page
    (tmp_path / "letter.wav").write_text("Dear aunt,\n" * 100)
    complaints = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        with pytest.raises(AudioError, match="letter.wav is not a WAV file"):
            await waiting.readings(desk, str(tmp_path / "letter.wav"), [None], "somebody")
        while desk.short.working:
            await asyncio.sleep(0.01)
        gc.collect()

    with ThreadPoolExecutor(1) as aside:  # the browser's loop is running in this thread
        aside.submit(asyncio.run, ask()).result()
    assert complaints == []


def test_those_who_wait_leave_the_rest_of_the_page_at_work(full, browser):
    """Sixty wait in line, more than Gradio has threads by default; another looks at a lesson."""
    url, desk, go_on = full
    desk.short.most_wait_s = 1e6
    client = Client(url, verbose=False)
    jobs = [client.submit(handle_file(CLIP), api_name="/transcribe") for _ in range(60)]
    wait_until(lambda: len(desk.short.waiting) >= 40)
    with visitor(browser, url) as tab:
        tab.get_by_role("tab", name="Doctor").click()
        tab.get_by_role("button", name="Show all the rules").click()
        tab.locator("#rules").get_by_text("Softmax in place of log_softmax").first.wait_for()
    assert len(desk.short.waiting) >= 40
    go_on()
    assert len({job.result()["text"] for job in jobs}) == 1


def test_clearing_a_long_recording_ends_the_work_on_it(own_page, browser, tmp_path):
    own_url, desk = own_page
    sf.write(tmp_path / "lecture.flac", long_speech(12), RATE)
    with sent(browser, own_url, tmp_path / "lecture.flac") as tab:
        tab.get_by_text(re.compile("Listening|Reading")).first.wait_for()
        wait_until(lambda: desk.long.working and desk.long.working[0].so_far)
        (ticket,) = desk.long.working
        tab.get_by_label("Clear", exact=True).first.click()
        wait_until(ticket.future.done)
        assert isinstance(ticket.future.exception(), Left) and ticket.so_far.done_s < 720
        tab.wait_for_selector(".ctc-lens .empty", state="visible")
