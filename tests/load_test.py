"""Many people at once, through the real page: python tests/load_test.py [--clients 50]

Starts the page in a process of its own. Ten clips of 10 s, cut from the examples, are transcribed one after another by one
client of the API; then every client sends one at the same moment, while somebody speaks live. Prints the errors by their
sentences, how long an answer took, the throughput beside that of one by one, whether the texts are the same, and how late
the live captions came, alone and beside the others.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile as sf
from gradio_client import Client, handle_file

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from asr_core import DEFAULT_CHECKPOINT, audio

CLIP_S, RATE = 10.0, 16_000
SERIAL = 10  # clips that are sent one after another
PIECE_S = 0.25  # of live sound, as the page sends it
LIVE_ALONE_S = 8.0


@dataclass(frozen=True)
class Load:
    """answers: the text or the sentence of each client; seconds: what each waited, (N,). took_s: until the last had it."""

    answers: tuple[str, ...]
    errors: Counter[str]
    seconds: np.ndarray
    took_s: float


def write_clips(folder: Path, count: int) -> list[Path]:
    """The examples one after another, each clip from another moment on."""
    speech = np.concatenate([audio.load(path, RATE) for path in sorted((ROOT / "examples").glob("*.mp3"))])
    paths = [folder / f"clip{number:02d}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        shift = number * len(speech) // count
        sf.write(path, np.resize(np.roll(speech, -shift), round(CLIP_S * RATE)), RATE)
    return paths


def one_by_one(url: str, paths: Sequence[Path]) -> Load:
    """One client, one clip after another."""
    client = Client(url, verbose=False)
    return _load(lambda: [_ask(client, path) for path in paths])


def at_once(url: str, paths: Sequence[Path]) -> Load:
    """A client for each clip, all at the same moment."""
    clients = [Client(url, verbose=False) for _ in paths]
    gate = threading.Barrier(len(paths))

    def come(client: Client, path: Path) -> tuple[str, bool, float]:
        gate.wait()
        return _ask(client, path)

    with ThreadPoolExecutor(len(paths)) as people:
        return _load(lambda: list(people.map(come, clients, paths)))


def _ask(client: Client, path: Path) -> tuple[str, bool, float]:
    """(text or sentence, whether it is a text, seconds)."""
    start = time.perf_counter()
    try:
        answer, is_text = client.predict(handle_file(path), api_name="/transcribe")["text"], True
    except Exception as error:  # whatever it is, a client would see it
        answer, is_text = str(error), False
    return answer, is_text, time.perf_counter() - start


def _load(run) -> Load:
    start = time.perf_counter()
    answers = run()
    took_s = time.perf_counter() - start
    errors = Counter(answer for answer, is_text, _ in answers if not is_text)
    return Load(tuple(answer for answer, _, _ in answers), errors, np.array([each[2] for each in answers]), took_s)


class Speaker:
    """Somebody who speaks live, in real time, by the server function that the page's tab "Live" calls."""

    def __init__(self, url: str, speech: np.ndarray) -> None:
        self.url, self.speech = url, speech
        self.delays: list[float] = []  # seconds from a piece to its caption
        config = httpx.get(f"{url}config").json()
        (live,) = [each for each in config["components"] if "feed" in (each["props"].get("server_fns") or ())]
        self.component, self.done = live["id"], threading.Event()

    def __enter__(self) -> Speaker:
        self.thread = threading.Thread(target=self._speak)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _speak(self) -> None:
        name, step, number = os.urandom(8).hex(), round(PIECE_S * RATE), 0
        begun = time.perf_counter()
        # From an address of their own: the page lets nobody ask for as much as all of them together. By the heartbeat the
        # page hears, as of any browser, when they have gone.
        with (
            httpx.Client(timeout=60, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as browser,
            browser.stream("GET", f"{self.url}gradio_api/heartbeat/{name}"),
        ):
            while not self.done.wait(max(0.0, begun + number * PIECE_S - time.perf_counter())):
                piece = np.roll(self.speech, -number * step)[:step]
                sent = base64.b64encode((piece * 32_767).astype("<i2").tobytes()).decode()
                message = {"id": name, "rate": RATE, "samples": sent, "last": False}
                body = {"session_hash": name, "component_id": self.component, "fn_name": "feed", "data": message}
                start = time.perf_counter()
                answer = browser.post(f"{self.url}gradio_api/component_server", json=body).json()
                assert "error" not in answer, answer
                self.delays.append(time.perf_counter() - start)
                number += 1


@contextlib.contextmanager
def served(checkpoint: str) -> Iterator[tuple[str, int]]:
    """(address, process number) of the page, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    command = [sys.executable, "app.py", "--checkpoint", checkpoint]
    page = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}config").raise_for_status()
                break
            assert page.poll() is None, "The page did not start."
            time.sleep(0.1)
        yield url, page.pid
    finally:
        page.terminate()
        page.wait()


def told(delays: Sequence[float]) -> str:
    return f"median {np.median(delays):.2f} s, 95 % {np.percentile(delays, 95):.2f} s, worst {max(delays):.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(args.checkpoint) as (url, _):
        paths = write_clips(Path(folder), SERIAL)
        speech = audio.load(paths[0], RATE)
        one_by_one(url, paths[:2])  # what is slow the first time
        serial = one_by_one(url, paths)
        assert not serial.errors, serial.errors
        with Speaker(url, speech) as alone:
            time.sleep(LIVE_ALONE_S)
        asked = [paths[number % SERIAL] for number in range(args.clients)]
        with Speaker(url, speech) as beside:
            together = at_once(url, asked)
    texts = dict(zip(paths, serial.answers, strict=True))
    served_count = len(asked) - together.errors.total()
    same = sum(texts[path] == answer for path, answer in zip(asked, together.answers, strict=True))
    one, many = SERIAL / serial.took_s, served_count / together.took_s
    print(f"{os.cpu_count()} cores, {args.clients} clients at once, each with {CLIP_S:.0f} s of speech")
    for sentence, count in together.errors.most_common():
        print(f"  {count} were told: {sentence}")
    print(f"answers: {served_count} texts, {same} of them the same as one by one")
    print(f"waited: median {np.median(together.seconds):.1f} s, 95 % {np.percentile(together.seconds, 95):.1f} s")
    print(f"throughput: {many:.1f} clips a second; one by one {one:.1f} ({many / one:.1f} times)")
    print(f"live captions alone: {told(alone.delays)}")
    print(f"live captions beside them: {told(beside.delays)}")


if __name__ == "__main__":
    main()
