"""push: a checkpoint to the Hugging Face Hub."""

from __future__ import annotations

import argparse

from asr_core.sharing import push


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("push", help="share a checkpoint on the Hugging Face Hub, with its card")
    parser.add_argument("source", metavar="CHECKPOINT", help="a folder, or a shipped one by its name")
    parser.add_argument("name", metavar="ORG/NAME", help="made where there is none; log in before, with `hf auth login`")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    print(push(args.source, args.name))
    return 0
