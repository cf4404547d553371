"""compress: a checkpoint with its matrices in 8 bits, half the size, for shipping."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_core import checkpoint


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("compress", help="write a checkpoint with its matrices in 8 bits: half the size")
    parser.add_argument("source", metavar="CHECKPOINT", help="a folder or a Hub id")
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    model = checkpoint.load(args.source)
    model.save(args.out, compressed=True)
    size = (args.out / checkpoint.WEIGHTS).stat().st_size
    print(f"{args.out / checkpoint.WEIGHTS}: {size / 1e6:.1f} MB. Measure it again: python -m asr_core evaluate")
    return 0
