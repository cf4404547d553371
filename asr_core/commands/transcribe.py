"""transcribe: what was said in recordings. align: where the letters of a given text lie."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr_core import AudioError, Transcriber, align
from asr_core.alignment import CONVENTIONS
from asr_core.export import CHOICES, export_lanes
from asr_core.files import write_atomically
from asr_core.transcriber import DECODERS
from asr_core.viewer.payload import Lane, reference_lanes


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    transcribing = commands.add_parser("transcribe", help="write what was said in audio files")
    transcribing.add_argument("audio", nargs="+", type=Path)
    transcribing.set_defaults(run=transcribe)

    aligning = commands.add_parser("align", help="find where the letters of a text lie in a recording, and what each costs")
    aligning.add_argument("audio", type=Path)
    aligning.add_argument("text", help="what was said")
    aligning.set_defaults(run=align_text)

    for each in (transcribing, aligning):
        each.add_argument("--format", choices=CHOICES, default="text" if each is transcribing else "json")
        each.add_argument("--spans", choices=CONVENTIONS, default="spike", help="where letters and words begin and end")
        each.add_argument("--decoder", choices=DECODERS, help="(beam if the checkpoint has a language model, else greedy)")
        each.add_argument("--out", type=Path, metavar="FOLDER", help="write a file for each recording instead of printing")
    return [transcribing, aligning]


def transcribe(args: argparse.Namespace) -> int:
    transcriber = Transcriber.from_checkpoint(args.checkpoint)
    failed = 0
    for path in args.audio:
        try:
            lanes = [Lane("heard", transcriber.transcribe(path, args.decoder))]
        except AudioError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        write(lanes, path, args)
    return 2 if failed else 0


def align_text(args: argparse.Namespace) -> int:
    heard = Transcriber.from_checkpoint(args.checkpoint).transcribe(args.audio, args.decoder)
    write(list(reference_lanes(align(heard, args.text))), args.audio, args)
    return 0


def write(lanes: list[Lane], path: Path, args: argparse.Namespace) -> None:
    """To standard output, or into --out under the name of the recording."""
    name, content = export_lanes(lanes, args.format, args.spans)
    if args.out is None:
        sys.stdout.write(content)
        sys.stdout.flush()
    else:
        target = args.out / f"{path.stem}{Path(name).suffix}"
        write_atomically(target, content.encode())
        print(target)
