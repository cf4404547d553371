"""Mixed traffic for a long time: python tests/soak.py [--minutes 30].

Starts the page in a process of its own. Programs transcribe, align and diagnose, some with files that are no audio; somebody
speaks live, talk after talk; visitors open the page in Chromium (where it is installed), click an example and leave. After a
warm-up the page must hold no more memory, files or threads at the end than at the beginning, and answer as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file
from load_test import RATE, Speaker, served, write_clips

from asr_core import DEFAULT_CHECKPOINT, audio
from asr_core.doctor.example import sick_batch

WARM_UP = 1 / 3  # of the time: every kind of traffic has come many times
SAMPLE_S = 2.0
TALK_S = 15.0
MOST_GROWTH, MOST_DRIFT = 0.02, 0.25  # of memory and of the median answer, from one half to the other
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Log:
    """What happened: (when, seconds) of each answer, and how many errors of each kind."""

    start: float = field(default_factory=time.monotonic)
    answers: list[tuple[float, float]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    done: threading.Event = field(default_factory=threading.Event)


def processes(root: int) -> list[int]:
    """A process and all that it started."""
    found = [root]
    for task in Path(f"/proc/{root}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [each for child in (task / "children").read_text().split() for each in processes(int(child))]
    return found


def held(root: int) -> tuple[int, int, int]:
    """(bytes of memory that is no file's, what is shared counted once; open files; threads) of a process and all that it
    started."""
    memory = files = threads = 0
    for process in processes(root):
        with contextlib.suppress(OSError):  # it has just ended
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            memory += 1024 * int(rollup.split("Pss_Anon:")[1].split()[0])
            files += len(os.listdir(f"/proc/{process}/fd"))
            threads += len(os.listdir(f"/proc/{process}/task"))
    return memory, files, threads


def program(log: Log, url: str, clips: list[Path], folder: Path, seed: int) -> None:
    """Asks for one thing after another."""
    draw, client = random.Random(seed), Client(url, verbose=False)
    batch, broken = folder / "batch.npz", folder / "broken.wav"

    def align() -> None:
        client.predict(file=handle_file(draw.choice(clips)), text="to be or not to be", api_name="/align")

    def diagnose() -> None:
        client.predict(file=handle_file(batch), api_name="/diagnose")

    def refuse() -> None:
        with contextlib.suppress(Exception):  # a sentence is what it should give
            client.predict(file=handle_file(broken), api_name="/transcribe")
            raise AssertionError("what is no audio was transcribed")

    while not log.done.is_set():
        ask = draw.choices((None, align, diagnose, refuse), (6, 1, 1, 2))[0]
        start = time.monotonic()
        try:
            if ask:
                ask()
            else:
                client.predict(file=handle_file(draw.choice(clips)), api_name="/transcribe")
                log.answers.append((start - log.start, time.monotonic() - start))
        except Exception as error:
            log.errors[str(error)[:100]] += 1
        log.done.wait(draw.uniform(0, 0.5))


def talk(log: Log, url: str, speech: np.ndarray) -> None:
    """Talk after talk."""
    while not log.done.is_set():
        with Speaker(url, speech):
            log.done.wait(TALK_S)


def visit(log: Log, url: str) -> None:
    """Visitors, one after another."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        while not log.done.is_set():
            context = browser.new_context()
            try:
                tab = context.new_page()
                tab.goto(url)
                tab.wait_for_selector(".ctc-lens .empty")
                tab.get_by_role("button", name="“").first.click()
                tab.wait_for_selector(".ctc-lens .word")
            except Exception as error:
                log.errors[str(error)[:100]] += 1
            context.close()
        browser.close()


@contextlib.contextmanager
def traffic(log: Log, url: str, folder: Path) -> Iterator[None]:
    clips = write_clips(folder, 10)
    speech = audio.load(clips[0], RATE)
    (folder / "batch.npz").write_bytes(sick_batch())
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(1000))
    jobs: list[tuple[Callable, tuple]] = [(program, (log, url, clips, folder, seed)) for seed in range(3)]
    jobs.append((talk, (log, url, speech)))
    if CHROMIUM:
        jobs.append((visit, (log, url)))
    threads = [threading.Thread(target=job, args=arguments) for job, arguments in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        log.done.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Soaked:
    """samples: (when, bytes, files, threads) after the warm-up. All figures compare its first half with its second."""

    log: Log
    samples: np.ndarray

    def medians(self, column: int) -> tuple[float, float]:
        first, second = np.array_split(self.samples[:, column], 2)
        return float(np.median(first)), float(np.median(second))

    @property
    def latency_s(self) -> tuple[float, float]:
        begin, end = self.samples[0, 0], self.samples[-1, 0]
        halves = [
            [took for when, took in self.log.answers if low <= when < high]
            for low, high in ((begin, (begin + end) / 2), ((begin + end) / 2, end))
        ]
        return tuple(float(np.median(half)) for half in halves)

    def complaints(self) -> list[str]:
        """What is not as it should be."""
        found = [f"{count} times: {sentence}" for sentence, count in self.log.errors.items()]
        memory = self.medians(1)
        if memory[1] > (1 + MOST_GROWTH) * memory[0]:
            found.append(f"memory grew from {memory[0] / 1e6:.0f} to {memory[1] / 1e6:.0f} MB")
        for column, what in ((2, "open files"), (3, "threads")):
            before, after = self.medians(column)
            if after > before + 2:
                found.append(f"{before:.0f} {what} became {after:.0f}")
        return found

    def slower(self) -> list[str]:
        """Apart from the others, since whatever else the machine does counts, and in three minutes much."""
        before, after = self.latency_s
        return [f"answers took {before:.2f} s, and later {after:.2f} s"] if after > (1 + MOST_DRIFT) * before else []

    def __str__(self) -> str:
        names = ("memory, MB", "open files", "threads")
        lines = [
            f"{len(self.log.answers)} recordings transcribed; median answer in the first half {self.latency_s[0]:.2f} s, "
            f"in the second {self.latency_s[1]:.2f} s"
        ]
        for column, name in enumerate(names, 1):
            before, after = self.medians(column)
            scale = 1e6 if column == 1 else 1
            lines.append(f"{name}: {before / scale:.0f}, then {after / scale:.0f} ({after / before - 1:+.1%})")
        return "\n".join(lines + (self.complaints() + self.slower() or ["nothing to complain of"]))


def soak(minutes: float, checkpoint: str, say: Callable[[str], None] = lambda _: None) -> Soaked:
    log, samples = Log(), []
    with tempfile.TemporaryDirectory() as folder, served(checkpoint) as (url, process), traffic(log, url, Path(folder)):
        while (now := time.monotonic() - log.start) < 60 * minutes:
            if now > 60 * minutes * WARM_UP:
                samples.append((now, *held(process)))
            say(f"{now / 60:.1f} of {minutes:.0f} minutes, {held(process)[0] / 1e6:.0f} MB")
            time.sleep(SAMPLE_S)
    return Soaked(log, np.array(samples))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT))
    args = parser.parse_args()
    soaked = soak(args.minutes, args.checkpoint, lambda line: print(line, end="\r", file=sys.stderr))
    print(soaked)
    return 1 if soaked.complaints() + soaked.slower() else 0


if __name__ == "__main__":
    sys.exit(main())
