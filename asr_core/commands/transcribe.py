"""transcribe: what was said in recordings. align: where the letters of a given text lie."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from asr_core import AudioError, PosteriorsError, Transcriber, Transcription, align, posteriors, transcribe_many
from asr_core.alignment import CONVENTIONS, require_room
from asr_core.data.utterances import DataError
from asr_core.decoding import DECODERS
from asr_core.export import CHOICES, ending, export_lanes
from asr_core.files import write_atomically
from asr_core.many import cores, share
from asr_core.recordings import Recording, find_recordings
from asr_core.reference import spell
from asr_core.viewer.payload import Lane, reference_lanes


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    transcribing = commands.add_parser("transcribe", help="write what was said in audio files")
    transcribing.add_argument(
        "audio", nargs="*", type=Path, help="files, folders, and manifests: .tsv with a column path, from its own folder"
    )
    transcribing.add_argument(
        "--emission", nargs="+", type=Path, metavar="FILE", help="instead of audio: what another model made of it, .npz or "
        ".safetensors (docs/posteriors.md)"
    )  # fmt: skip
    transcribing.add_argument("--workers", type=_whole, help=f"processes (default: one a core, here {cores()})")
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


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; 0 means none beside this one.")
    return int(text)


def transcribe(args: argparse.Namespace) -> int:
    """Without --out: JSON lines as they are finished, each naming its recording; other formats in the order of the input.

    With --out: what is there already is left alone, so that the same command goes on where it was stopped.
    """
    if bool(args.audio) == bool(args.emission):
        raise DataError("Name audio files, folders or manifests to transcribe, or with --emission what a model made of one.")
    if args.emission:
        return transcribe_emissions(args)
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))  # torchrun's
    if processes > 1 and args.out is None:
        raise DataError(f"{processes} processes would mix their lines. Name an --out FOLDER.")
    recordings, problems = find_recordings(args.audio)
    if processes > 1:
        mine = set(share([recording.path for recording in recordings], rank, processes))
        recordings = [recording for recording in recordings if recording.path in mine]
    for problem in problems if rank == 0 else ():
        print(problem, file=sys.stderr)
    missing = {recording.path: recording for recording in recordings if not _is_there(recording, args)}
    if there := len(recordings) - len(missing):
        print(f"{there:,} of {len(recordings):,} were there already", file=sys.stderr)

    transcriber = Transcriber.from_checkpoint(args.checkpoint)
    make = partial(_content, missing, args.format, args.spans)
    results = transcribe_many(transcriber, missing, args.decoder, args.workers, make, SecondsBar())
    if not (args.out or args.format.startswith("json")):
        results = _in_turn(results, list(missing))
    failed = len(problems)
    with tqdm(total=len(recordings), initial=there, unit="file", file=sys.stderr, disable=None) as bar:  # on a terminal only
        for path, content in results:
            recording = missing[path]
            if isinstance(content, AudioError):
                bar.write(str(content) if recording.name == path.name else f"{recording.name}: {content}", file=sys.stderr)
                failed += 1
            else:
                with bar.external_write_mode(file=sys.stdout):
                    _write(content, _target(recording, args))
            bar.update()
    # torchrun ends every process when one of them fails, and a bad file must not stop the others.
    return 2 if failed and processes == 1 else 0


def transcribe_emissions(args: argparse.Namespace) -> int:
    """In the order of the input, by the decoder alone: the model that heard the recording is another's."""
    failed = 0
    for path in args.emission:
        try:
            heard = posteriors.load(path)
        except (AudioError, PosteriorsError) as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        if heard.note:
            print(f"{path.name}: {heard.note}", file=sys.stderr)
        reading = heard.read(args.decoder or "greedy")
        _, content = export_lanes([Lane("heard", reading)], args.format, args.spans)
        _write(content.encode(), _target(Recording(path, path.name, path.stem), args))
    return 2 if failed else 0


def align_text(args: argparse.Namespace) -> int:
    transcriber, progress = Transcriber.from_checkpoint(args.checkpoint), SecondsBar()
    emission, sound = transcriber.listen(args.audio, progress)
    # Before the long part of the work: a text that cannot be aligned need not be compared with what is heard.
    require_room(len(emission), len(spell(args.text, emission.alphabet)), emission.frame_s)
    heard = transcriber.read(emission, sound, args.decoder, progress)
    _, content = export_lanes(reference_lanes(align(heard, args.text)), args.format, args.spans)
    _write(content.encode(), _target(Recording(args.audio, args.audio.name, args.audio.stem), args))
    return 0


class SecondsBar:
    """How far one long recording is, below the bar of all of them, on a terminal; of what takes two seconds or more."""

    def __init__(self) -> None:
        self.doing, self.done_s, self.bar = "", 0.0, tqdm(disable=True)

    def __call__(self, doing: str, done_s: float, whole_s: float | None) -> None:
        if doing != self.doing or done_s < self.done_s:  # the next thing to do, or another recording
            self.bar.close()
            total = None if whole_s is None else round(whole_s)
            options = {"unit": "s", "position": 1, "leave": False, "delay": 2, "file": sys.stderr, "disable": None}
            self.bar = tqdm(desc=doing, total=total, **options)
        self.doing, self.done_s = doing, done_s
        self.bar.update(round(done_s) - self.bar.n)
        if done_s == whole_s:
            self.bar.close()


def _target(recording: Recording, args: argparse.Namespace) -> Path | None:
    """None: standard output."""
    return args.out / f"{recording.stem}{ending(args.format)}" if args.out else None


def _is_there(recording: Recording, args: argparse.Namespace) -> bool:
    target = _target(recording, args)
    return target is not None and target.exists()


def _content(
    recordings: dict[Path, Recording], format: str, convention: str, path: Path, transcription: Transcription
) -> bytes:
    """The file, which names the recording by its path below the folder that all share."""
    named = replace(transcription, sound=replace(transcription.sound, name=recordings[path].name))
    _, content = export_lanes([Lane("heard", named)], format, convention)
    return content.encode(errors="backslashreplace")  # a file's name may be no text


def _write(content: bytes, target: Path | None) -> None:
    if target is None:
        sys.stdout.write(content.decode())
    else:
        write_atomically(target, content)
        sys.stdout.write(f"{target}\n")  # in one piece: under torchrun nothing is buffered, and lines would mix
    sys.stdout.flush()


def _in_turn(results: Iterable[tuple[Path, object]], order: Sequence[Path]) -> Iterator[tuple[Path, object]]:
    """The results in this order, each as soon as all before it have come."""
    waiting: dict[Path, object] = {}
    turn = iter(order)
    due = next(turn, None)
    for path, result in results:
        waiting[path] = result
        while due in waiting:
            yield due, waiting.pop(due)
            due = next(turn, None)
