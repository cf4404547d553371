"""language-model: a trigram from text. tune: its weights in a beam search, and then how far words are to be trusted, from a
checkpoint and a validation corpus."""

from __future__ import annotations

import argparse
import lzma
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from asr_core import DEFAULT_CHECKPOINT, CheckpointError, adapters, checkpoint, shipped
from asr_core.commands.evaluate import add_corpus, corpus, count
from asr_core.kneser_ney import estimate, perplexity
from asr_core.language_model import LanguageModelError, load
from asr_core.text import normalise
from asr_core.transcriber import Transcriber
from asr_core.tuning import calibrate, tune


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    building = commands.add_parser("language-model", help="make a word trigram from text, for the beam search")
    building.add_argument("text", nargs="+", type=Path, help="one sentence a line, UTF-8, plain or .xz")
    building.add_argument(
        "--out",
        type=Path,
        required=True,
        help=f"CHECKPOINT/{checkpoint.LANGUAGE_MODEL}, or beside several that shall share it",
    )
    building.add_argument("--vocabulary", type=int, default=50_000, help="words, the most frequent (default: 50000)")
    building.add_argument("--bigrams", type=int, default=900_000, help="kept beside those that trigrams need (900000)")
    building.add_argument("--trigrams", type=int, default=900_000, help="kept (900000)")
    building.add_argument("--perplexity-of", type=Path, metavar="TEXT", help="sentences to measure the model with")
    building.set_defaults(run=build)

    tuning = commands.add_parser("tune", help="find how much to heed a checkpoint's language model, and to trust its words")
    add_corpus(tuning)
    tuning.add_argument(
        "--checkpoint",
        metavar="MODEL",
        help=f"a folder, which gets the weights; or, with --out, {shipped.choices()} or a Hub id",
    )
    tuning.add_argument("--out", metavar="FOLDER", help="gets the whole checkpoint with the weights")
    tuning.add_argument("--every", type=count, default=4, help="use every n-th utterance (default: 4)")
    tuning.set_defaults(run=tune_weights)
    return []  # tune has its own --checkpoint: nobody rewrites the shipped one by leaving an option out


def lines(path: Path) -> Iterator[str]:
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
            for line in file:
                yield normalise(line)
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise LanguageModelError(f"{path} cannot be read as text, plain or .xz: {error}.") from error


def build(args: argparse.Namespace) -> int:
    if args.out.exists() and any(path.exists() and path.samefile(args.out) for path in args.text):
        raise LanguageModelError(f"{args.out} is the text itself, and would be overwritten. Name another --out.")
    sentences = [line for path in args.text for line in tqdm(lines(path), path.name, unit=" lines", file=sys.stderr)]
    print(f"{len(sentences):,} sentences; counting ...", file=sys.stderr)
    model = estimate(sentences, args.vocabulary, args.bigrams, args.trigrams)
    model.save(args.out)
    size = os.path.getsize(args.out) / 1e6
    print(
        f"{args.out}: {len(model.words):,} words, {len(model.two):,} bigrams, {len(model.three):,} trigrams, {size:.1f} MB"
    )
    if args.perplexity_of:
        print(f"perplexity of {args.perplexity_of}: {perplexity(load(args.out), lines(args.perplexity_of)):.1f}")
    return 0


def tune_weights(args: argparse.Namespace) -> int:
    folder = _tuned_folder(args)
    model = checkpoint.load(folder, untuned=True)
    transcriber, files = Transcriber(model), checkpoint.read_files(folder, model)
    if not model.language_model:
        raise LanguageModelError(
            f"{folder} has no {checkpoint.LANGUAGE_MODEL}, and none lies beside it. Make one with language-model."
        )
    emissions = []
    for utterance in tqdm(corpus(args)[:: args.every], "listening", unit="utterance", file=sys.stderr):
        emissions.append((utterance.text, transcriber.transcribe(utterance.path, "greedy").emission))
    model = replace(model, language_model=tune(emissions, model.language_model, print))
    model = replace(model, calibration=calibrate(model, emissions, print))
    if args.out:
        checkpoint.write_files(Path(args.out), files | {checkpoint.CONFIG: model.config()})
    else:
        model.save_config(folder)
    print(f"written into {args.out or folder}")
    return 0


def _tuned_folder(args: argparse.Namespace) -> Path:
    """The checkpoint's. Raises CheckpointError if the weights have nowhere to go, before anything is listened to."""
    if args.out:
        if os.path.isfile(shipped.target(args.out)):
            raise CheckpointError(f"{args.out} is a file. Name with --out a folder, which gets the whole checkpoint.")
        return adapters.find_own(args.checkpoint or DEFAULT_CHECKPOINT)
    if not args.checkpoint:
        raise CheckpointError(
            "tune writes the weights it finds into a checkpoint. Name yours with --checkpoint FOLDER, or with --out FOLDER "
            "where to write a copy of the shipped one."
        )
    adapters.require_own(args.checkpoint)
    folder = shipped.target(args.checkpoint)
    if not os.path.isdir(folder):
        raise CheckpointError(
            f"There is no folder {args.checkpoint} to write the weights into. Name with --out FOLDER where to write a copy "
            "of the checkpoint with them."
        )
    return folder
