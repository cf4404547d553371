"""prepare: a corpus as it was downloaded to FLAC files and a manifest that train.py reads."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from asr_core.data.prepare import prepare, read_corpus
from asr_core.data.utterances import DataError


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("prepare", help="decode a corpus once, to FLAC files and a manifest for train.py")
    parser.add_argument("corpus", type=Path, help="a folder of LibriSpeech's or Common Voice's layout, or a manifest .tsv")
    parser.add_argument("out", type=Path, metavar="FOLDER", help="gets audio/ and manifest.tsv; run it again to go on")
    parser.add_argument(
        "--mp3",
        action="store_true",
        help="what MP3 at 20 to 56 kbit/s leaves of the training recordings: for train.py, beside the plain manifest",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    manifest = args.out / "manifest.tsv"
    if manifest.exists() and args.corpus.exists() and manifest.samefile(args.corpus):
        raise DataError(f"{args.corpus} would be overwritten by the manifest of what is prepared. Name another folder.")
    sources = [each for each in read_corpus(args.corpus) if each.split == "train" or not args.mp3]

    def report(sentence: str) -> None:
        tqdm.write(sentence, file=sys.stderr)

    used = prepare(sources, args.out, max(1, args.workers), report, args.mp3)
    print(f"{manifest}: {used:,} of {len(sources):,} utterances")
    return 0 if used == len(sources) else 2
