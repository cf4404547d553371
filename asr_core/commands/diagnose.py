"""diagnose: what is wrong with a batch as it is given to a CTC loss. Exit code 1 when an error is found."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_core import diagnose
from asr_core.doctor.reading import read


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("diagnose", help="find what is wrong with a batch as it is given to a CTC loss")
    parser.add_argument("file", type=Path, help="FILE.npz or FILE.safetensors with log_probs, targets, input_lengths ...")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    diagnosis = diagnose(**read(args.file))
    print(diagnosis.as_json() if args.format == "json" else diagnosis)
    return 1 if diagnosis.errors else 0
