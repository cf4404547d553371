"""How fast the alignment view is, in Chromium, through the real page: python tests/benchmark_viewer.py

Prints, for 30 s of speech and for 5 min, the most that is shown at once (the bundled examples, one after another): the
payload's size; the time from the finished result in Python to pixels on the screen; the time of a redraw while scrolling;
and what 50 further results leave behind in the browser's memory.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

import app
from asr_core import DEFAULT_CHECKPOINT, Transcriber, audio, reception
from asr_core.data.utterances import read_manifest
from asr_core.viewer.component import STATIC
from asr_core.viewer.payload import Lane, payload

REPEATS = 7
FLAGS = ["--no-sandbox", "--disable-gpu"]

# Date.now() of the frame after each change of the summary line, which is written with every result.
WATCH = """
window.shown = [];
new MutationObserver(() => {
  const text = document.querySelector('.ctc-lens .summary')?.textContent;
  if (!text || text === window.lastSummary) return;
  window.lastSummary = text;
  requestAnimationFrame(() => requestAnimationFrame(() => window.shown.push(Date.now())));
}).observe(document, {childList: true, subtree: true, characterData: true});
"""
# A view of our own beside the page's: its redraws, one after another, over the whole recording.
REDRAW = """async ([folder, sent]) => {
  const {mount} = await import(folder + 'alignment_view.mjs');
  const root = document.createElement('div');
  root.className = 'ctc-lens';
  document.body.append(root);
  window.view = mount(root);
  await view.show(sent);
  const times = [];
  for (let i = 0; i < 200; i++) {
    view.scroller.scrollLeft = (i / 200) * view.track.clientWidth;
    const start = performance.now();
    view.draw();
    times.push(performance.now() - start);
  }
  return times;
}"""
SHOW = """async ([[one, other], times]) => {
  for (let i = 0; i < times; i++) {
    await view.show(i % 2 ? one : other);
    view.draw();
  }
}"""


def sent(transcriber: Transcriber, samples: np.ndarray) -> dict:
    """What the page sends of a recording: both readings."""
    letters = transcriber.transcribe((16_000, samples), "greedy")
    return payload(Lane("letters", letters), Lane("words", transcriber.read(letters.emission, letters.sound, "beam")))


def speech(seconds: float, start: int) -> np.ndarray:
    """The examples over and over, from the `start`-th on."""
    clips = [audio.load(utterance.path) for utterance in read_manifest(app.EXAMPLES)]
    once = np.concatenate(clips[start % len(clips) :] + clips[: start % len(clips)])
    return np.resize(once, int(seconds * 16_000) - 160 * start)


def to_pixels(tab: Page, seconds: float, folder: Path) -> list[float]:
    times, finished = [], []
    settle = reception._settle

    def noted(*arguments: Any) -> None:
        finished.append(time.time())
        settle(*arguments)

    reception._settle = noted  # called in this process when it has got a reading from another
    for repeat in range(REPEATS):
        path = folder / f"{seconds:.0f}-{repeat}.wav"
        sf.write(path, speech(seconds, repeat), 16_000)
        if repeat:
            tab.get_by_label("Clear").first.click()
            tab.wait_for_selector(".ctc-lens .empty")
        tab.get_by_label("Upload file").first.click()
        count = tab.evaluate("window.shown.length")
        tab.locator("input[type=file]").first.set_input_files(path)
        tab.wait_for_function(f"window.shown.length > {count}", timeout=120_000)
        times.append(tab.evaluate("window.shown.at(-1)") / 1000 - finished[-1])
    reception._settle = settle
    return times[1:]  # the first also fetches the view's own files


def memory_left_behind(tab: Page, sent: list[dict]) -> float:
    """Megabytes of JavaScript heap, after garbage collection, that 50 results leave, once ten have gone before."""
    inspector = tab.context.new_cdp_session(tab)

    def used() -> float:
        inspector.send("HeapProfiler.collectGarbage")
        return inspector.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    tab.evaluate(SHOW, [sent, 10])
    before = used()
    tab.evaluate(SHOW, [sent, 50])
    return used() - before


def main() -> None:
    transcriber = Transcriber.from_checkpoint(DEFAULT_CHECKPOINT)
    page = app.build(transcriber)
    _, url, _ = page.launch(**app.LAUNCH, prevent_thread_lock=True, quiet=True)
    print(f"{os.cpu_count()} cores, medians of {REPEATS - 1}\n")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        print("| audio | payload | result to pixels | redraw, median | redraw, 95 % |\n|---|---|---|---|---|")
        for seconds in (30, 300):
            tab = browser.new_page(viewport={"width": 1280, "height": 1000})
            tab.add_init_script(WATCH)
            tab.goto(url)
            tab.wait_for_selector(".ctc-lens .empty")
            times = to_pixels(tab, seconds, Path(folder))
            payloads = [sent(transcriber, speech(seconds, start)) for start in (0, 1)]
            redraws = tab.evaluate(REDRAW, [f"{url}gradio_api/file={STATIC.as_posix()}/", payloads[0]])
            print(
                f"| {seconds} s | {len(json.dumps(payloads[0])) / 1000:.0f} kB | {1000 * statistics.median(times):.0f} ms "
                f"| {statistics.median(redraws):.1f} ms | {np.percentile(redraws, 95):.1f} ms |",
                flush=True,
            )
            if seconds == 30:
                grown = memory_left_behind(tab, payloads)
            tab.close()
        print(f"\n50 further results of 30 s leave {grown:+.1f} MB in the browser's memory")
    page.close()


if __name__ == "__main__":
    main()
