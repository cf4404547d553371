"""CTC Lens, the page: python app.py [--checkpoint MODEL] [--compare MODEL]...

Layout and wiring; asr_core does the work, and asr_core/page/ builds the parts.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: no call leaves the machine
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # else it sums up the last events after each
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # nobody looks at them; it would keep 10,000

try:
    import spaces  # there on a ZeroGPU Space alone, where it has to come before torch
except ImportError:
    spaces = None

import gradio as gr
import torch

from asr_core import DEFAULT_CHECKPOINT, CheckpointError, Transcriber, shipped
from asr_core.data.utterances import read_manifest
from asr_core.page import api, break_it, doctor, explorer, guard, learn, live, read, training
from asr_core.page.visits import Visits
from asr_core.reception import Reception

EXAMPLES = Path(__file__).parent / "examples" / "manifest.tsv"

MOST_PEOPLE = 400  # with something to be done at once
MOST_VISITS = 1_000  # remembered at once, of 0.2 MB each; where nobody hears of their end, for an hour

INTRODUCTION = """
# CTC Lens
See what a speech recogniser hears, frame by frame. Speak, or click an example.
"""
SOURCES = """
Examples: LibriSpeech dev-clean (Panayotov et al. 2015, CC BY 4.0). Nothing you record is kept.
"""


def build(transcriber: Transcriber, others: Sequence[Transcriber] = ()) -> gr.Blocks:
    """The page for one model; with `others`, every recording shows the reading of one of them, too."""
    reception = Reception(transcriber)
    with gr.Blocks(title="CTC Lens", delete_cache=(600, 3600), analytics_enabled=False) as page:
        visits = Visits(page)
        gr.Markdown(INTRODUCTION)
        shared = explorer.build(transcriber, reception, visits, others, read_manifest(EXAMPLES))
        with gr.Tabs() as tabs:
            with gr.Tab("Read") as tab:
                explorer.show_what_was_heard(tab, shared)
                read.build(tab, shared)
            with gr.Tab("Live") as tab:
                explorer.show_what_was_heard(tab, shared)
                live.build(shared)
            with gr.Tab("Learn", id=explorer.LEARN) as tab:
                learn.build(page, tabs, tab, shared)
            with gr.Tab("Break it") as tab:
                break_it.build(tab, shared)
            replay = transcriber.model.replay
            if replay and len(replay.snapshots) > 1:
                with gr.Tab("Training") as tab:
                    training.build(tab, shared, replay)
            with gr.Tab("Doctor") as tab:
                explorer.show_what_was_heard(tab, shared)
                doctor.build()
        gr.Markdown(SOURCES)
        api.build(reception, visits)

        def leave(request: gr.Request) -> None:
            shared.wanted.leave(request)
            reception.leave(request.session_hash)
            visits.end(request)

        page.unload(leave)
    # The reception says who has to come again, and when; Gradio's own line, which says nothing, is longer than that.
    return page.queue(max_size=MOST_PEOPLE, api_open=False)


def on_gpu() -> None:
    """ZeroGPU refuses a Space in which no function asks for a GPU. Nothing calls this one: a processor reads a clip in less
    time than it takes to wait for a GPU, and a visitor's share of GPU time stays whole."""


if spaces:
    on_gpu = spaces.GPU(on_gpu)


def theme() -> gr.Theme:
    # The bundled SemiBold of Source Sans is a subset without Latin letters, so only the two whole weights are named.
    return gr.themes.Default(font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"])


LAUNCH = {
    "theme": theme(),
    # Gradio's orange on white is too pale to be read; a line below the open tab marks it all the same. On a phone all tabs
    # fit side by side, so that none hides in a menu.
    "css": """
        button[role=tab][aria-selected=true] { color: var(--body-text-color) !important; }
        #reference-times { overflow-x: auto; }
        #reference-times :is(td, th) { overflow-wrap: normal; padding: 2px 8px !important; word-break: normal; }
        @media (max-width: 480px) { .tab-container button { padding: 0 6px !important; font-size: 14px !important; }
            #reference-times :is(td, th) { font-size: 13px; padding: 2px 4px !important; } }
    """,
    "show_error": False,
    "run_history": False,  # it stores every visitor's results in the browser, and slows the page down
    "enable_monitoring": False,
    "pwa": False,
    "ssr_mode": False,
    "footer_links": ["api"],
    "max_file_size": guard.LARGEST_FILE,
    "state_session_capacity": MOST_VISITS,
    "max_threads": MOST_PEOPLE,  # also the most events at once, most of which wait in line without a thread
    "app_kwargs": {"middleware": guard.middleware()},
}


def give_freed_memory_back() -> None:
    """Linux's C library keeps what large arrays have left, in a heap for each of many threads: with Gradio's the page
    grew by 10 MB a minute. Two heaps do for all, and arrays get memory of their own. Elsewhere there is no such function."""
    most_heaps, own_memory_from = -8, -3  # M_ARENA_MAX, M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(most_heaps, 2)
        libc.mallopt(own_memory_from, 2**18)  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description="Open the CTC Lens page.")
    model = f"{shipped.choices()}, a folder, a Hub id, hf:..., torchaudio:..."
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="MODEL", help=model)
    parser.add_argument(
        "--compare", action="append", default=[], metavar="MODEL", help="another, to show side by side; may be repeated"
    )
    args = parser.parse_args()
    with_mcp = os.environ.get("CTC_LENS_MCP") == "1"
    if with_mcp and not importlib.util.find_spec("mcp"):
        print('app.py: CTC_LENS_MCP is 1, and the package mcp is missing: pip install "gradio[mcp]"', file=sys.stderr)
        return 2
    torch.set_num_threads(1)  # people are served side by side; threads of one operation would wait for each other's cores
    try:
        transcriber = Transcriber.from_checkpoint(args.checkpoint)
        others = [Transcriber.from_checkpoint(each) for each in args.compare]
    except CheckpointError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    gc.freeze()  # a full collection would write to every object, and none could be shared with the processes that read
    page = build(transcriber, others)
    give_freed_memory_back()  # now that the processes that read are made: they are faster without
    page.launch(**LAUNCH, mcp_server=with_mcp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
