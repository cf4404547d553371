"""compress: a checkpoint with its matrices in 8 bits, half the size, for shipping."""

from __future__ import annotations

import argparse

from asr_core import CheckpointError, adapters, checkpoint, shipped


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("compress", help="write a checkpoint with its matrices in 8 bits: half the size")
    parser.add_argument("source", metavar="CHECKPOINT", help="a shipped one by its name, a folder, or a Hub id")
    parser.add_argument("out", metavar="FOLDER")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    folder, out = adapters.find_own(args.source), shipped.target(args.out)
    if out.exists() and out.samefile(folder):
        raise CheckpointError(f"{out} would lose its own weights, which 8 bits do not give back. Name another folder.")
    model = checkpoint.load(folder)
    weights = model.weights(compressed=True)
    checkpoint.write_files(out, checkpoint.read_files(folder, model) | {checkpoint.WEIGHTS: weights})
    print(f"{out / checkpoint.WEIGHTS}: {len(weights) / 1e6:.1f} MB. Measure it again: python -m asr_core evaluate")
    return 0
