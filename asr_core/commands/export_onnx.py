"""export-onnx: a checkpoint's encoder for programs without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_core import adapters
from asr_core.onnx_export import LENGTHS, TIMED, export


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser(
        "export-onnx", help="write a checkpoint's encoder as ONNX: feature frames to log-probabilities"
    )
    parser.add_argument("source", metavar="CHECKPOINT", help="a shipped one by its name, a folder, or a Hub id")
    parser.add_argument("out", type=Path, metavar="FILE.onnx")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    model = adapters.load_own(args.source)
    made = export(model, args.out)
    print(
        f"{args.out}: {made.size / 1e6:.1f} MB. Over {len(LENGTHS)} lengths no log-probability differs from torch's by more "
        f"than {made.worst:.1g}. {TIMED * model.features.frame_s:.0f} s of sound take it {made.onnx_s:.2f} s, and torch "
        f"{made.torch_s:.2f} s, on one thread."
    )
    return 0
