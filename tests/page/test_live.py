"""Live captions, spoken into Chromium's fake microphone; and the server's side of them, fed by hand."""

import base64
import threading
from collections import OrderedDict

import numpy as np
import pytest
from actions import EXAMPLES, heard, wait_for_words
from synthetic import speech_like, tiny_model

from asr_core import Transcriber, audio
from asr_core.metrics import character_errors
from asr_core.page import live
from asr_core.page.live import Speakers
from asr_core.stream import UPDATE_S


def message(samples: np.ndarray, name: str = "a", rate: int = 16_000) -> dict:
    sent = base64.b64encode((samples * 32_767).astype("<i2").tobytes()).decode()
    return {"id": name, "rate": rate, "samples": sent}


@pytest.fixture
def speakers():
    return Speakers(Transcriber(tiny_model()))


def test_words_appear_while_one_speaks_and_the_whole_talk_is_shown_at_the_end(tab, transcriber):
    tab.get_by_role("tab", name="Live").click()
    tab.get_by_role("button", name="Speak", exact=True).click()
    tab.wait_for_function("document.querySelector('.ctc-live .tail').textContent.length > 3")
    tab.wait_for_selector(".ctc-lens .word")  # the view follows
    tab.wait_for_function("document.querySelector('.ctc-live .committed').textContent.length > 3")
    tab.wait_for_timeout(int(1000 * EXAMPLES[0].duration_s))
    tab.locator(".ctc-live").get_by_role("button", name="Stop").click()
    tab.get_by_text("Your recording is in the view above.").wait_for()
    while not (said := heard(tab)):  # the note comes from the server's answer, the text a little later
        tab.wait_for_timeout(100)
    wait_for_words(tab, said.split())
    assert said.startswith(tab.locator(".ctc-live .committed").inner_text())
    whole = transcriber.transcribe(EXAMPLES[0].path).text
    # The fake microphone begins anywhere in its file and repeats nothing: some of the words are there.
    assert len(set(said.split()) & set(whole.split())) >= 2


def test_a_refused_microphone_says_what_to_do(browser, url):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'))")
    page.goto(url)
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Speak", exact=True).click()
    page.get_by_text("There is no microphone. Plug one in, then try again.").wait_for()
    context.close()


def test_two_speakers_never_hear_each_other(speakers):
    first, second = speech_like(3.0, 1), speech_like(3.0, 2)
    for start in range(0, 48_000, 4_000):
        for name, samples in (("a", first), ("b", second)):
            answer = speakers.feed(message(samples[start : start + 4_000], name))
            assert answer.keys() == {"committed", "tail", "seconds"}
    for name, samples in (("a", first), ("b", second)):
        stream, _ = speakers.end(name)
        assert np.abs(stream.finish().sound.samples - samples).max() < 1e-4
    assert not speakers.talks and not speakers.heard


def test_a_talk_that_ends_while_the_others_are_looked_through_waits_its_turn(speakers):
    """Whoever speaks is in the middle of looking for silent talks when somebody else's ends."""
    piece, comes = speech_like(0.25), threading.Event()
    for name in "abc":
        speakers.feed(message(piece, name))

    class Door:
        """The lock, which tells that the other one is before it."""

        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            if threading.current_thread() is other:
                comes.set()
            self.lock.acquire()

        def __exit__(self, *_):
            self.lock.release()

    class Slow(dict):
        """Its items, between the first two of which the other one comes, and is through or waits."""

        def items(self):
            for number, item in enumerate(super().items()):
                if number == 1:
                    other.start()
                    comes.wait()
                yield item

    def leave():
        speakers.finish("c")
        comes.set()

    other = threading.Thread(target=leave)
    speakers.lock, speakers.heard = Door(speakers.lock), Slow(speakers.heard)
    assert "error" not in speakers.feed(message(piece, "a"))
    other.join()
    assert list(speakers.talks) == list(dict.keys(speakers.heard)) == ["a", "b"]


def test_nobody_looks_at_the_talks_without_the_lock(speakers, monkeypatch):
    looked = []

    def watched(kind: type) -> type:
        def method(name: str):
            def look(self, *arguments):
                looked.append((name, speakers.lock.locked()))
                return getattr(kind, name)(self, *arguments)

            return look

        names = ("__getitem__", "__setitem__", "__contains__", "__iter__", "__len__", "get", "items", "pop")
        return type("Watched", (kind,), {name: method(name) for name in names})

    speakers.talks, speakers.heard = watched(OrderedDict)(), watched(dict)()
    piece = speech_like(2 * UPDATE_S)
    for number in range(live.MOST_SPEAKERS + 1):
        speakers.feed(message(piece, str(number)))
    assert speakers.recent("0").duration_s == pytest.approx(2 * UPDATE_S, abs=0.1)
    assert speakers.finish("0").duration_s == pytest.approx(2 * UPDATE_S, abs=0.1)
    assert speakers.recent("0") is speakers.finish("0") is None
    now = live.monotonic()
    monkeypatch.setattr(live, "monotonic", lambda: now + live.FORGOTTEN_S + 1)
    speakers.feed(message(piece, "later"))
    speakers.end("later")
    assert len(looked) > 40 and all(locked for _, locked in looked), [name for name, locked in looked if not locked]


def test_beyond_so_many_speakers_one_is_told_to_wait_and_silent_ones_are_forgotten(speakers, monkeypatch):
    piece = speech_like(0.25)
    for number in range(live.MOST_SPEAKERS):
        assert "error" not in speakers.feed(message(piece, str(number)))
    assert "Try again in a minute" in speakers.feed(message(piece, "one more"))["error"]
    now = live.monotonic()
    monkeypatch.setattr(live, "monotonic", lambda: now + live.FORGOTTEN_S + 1)
    assert "error" not in speakers.feed(message(piece, "one more"))
    assert list(speakers.talks) == ["one more"]


@pytest.mark.parametrize(
    "sent", [{}, {"id": "a", "rate": "x", "samples": ""}, {"id": "a", "rate": 16_000, "samples": "no base64!"}, 7, None]
)
def test_what_no_browser_would_send_gets_a_sentence(speakers, sent):
    assert "cannot be read" in speakers.feed(sent)["error"]
    assert not speakers.talks


def test_too_much_sound_at_once_is_refused_and_none_of_it_is_taken(speakers):
    assert "Load the page again" in speakers.feed(message(speech_like(60.0)))["error"]
    assert not speakers.talks


def test_a_talk_ends_after_so_long_and_a_rate_that_cannot_be_is_refused(speakers, monkeypatch):
    monkeypatch.setattr(live, "LONGEST_S", 1.0)
    assert "error" not in speakers.feed(message(speech_like(1.5)))
    assert "may last" in speakers.feed(message(speech_like(0.1)))["error"]
    assert "samples a second" in speakers.feed(message(speech_like(0.1), "b", rate=3))["error"]


def test_the_view_beside_it_holds_the_last_seconds(transcriber):
    samples = np.concatenate([audio.load(example.path) for example in EXAMPLES])
    stream = transcriber.stream("greedy")
    update = round(UPDATE_S * 16_000)
    for start in range(0, len(samples), update):
        stream.feed(samples[start : start + update], 16_000)
        recent = stream.recent(4.0)
        assert recent.duration_s <= 4.05 and len(recent.path) == len(recent.emission)
        assert abs(len(recent.path) * 0.04 - recent.duration_s) <= 0.05
        assert recent.sound.end_s == pytest.approx(stream.caption.duration_s), "timed as the talk is"
    whole = transcriber.transcribe((16_000, samples), "greedy")
    last = " ".join(word.label for word in whole.words if word.start_s > whole.duration_s - 3.5)
    assert character_errors(last, recent.text[-len(last) :]).rate < 0.4
