"""python -m asr_core transcribe | align | evaluate | diagnose. Exit code 2 when some input could not be used, and 1 when
diagnose finds an error."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from asr_core import (
    DEFAULT_CHECKPOINT,
    AlignmentError,
    AudioError,
    CheckpointError,
    EvidenceError,
    TextError,
    Transcriber,
    align,
    diagnose,
)
from asr_core.alignment import CONVENTIONS
from asr_core.data.batches import SpeechDataset, bucket, loader
from asr_core.data.utterances import DataError, read_speakers, read_utterances, split_speakers
from asr_core.doctor.reading import read
from asr_core.evaluation import evaluate
from asr_core.export import CHOICES, export_lanes
from asr_core.files import write_atomically
from asr_core.viewer.payload import Lane, reference_lanes


def transcribe(args: argparse.Namespace) -> int:
    transcriber = Transcriber.from_checkpoint(args.checkpoint)
    failed = 0
    for path in args.audio:
        try:
            lanes = [Lane("heard", transcriber.transcribe(path))]
        except AudioError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        write(lanes, path, args)
    return 2 if failed else 0


def align_text(args: argparse.Namespace) -> int:
    heard = Transcriber.from_checkpoint(args.checkpoint).transcribe(args.audio)
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


def evaluate_corpus(args: argparse.Namespace) -> int:
    model = Transcriber.from_checkpoint(args.checkpoint).model
    utterances = read_utterances(args.corpus, args.split)
    if args.only_speakers:
        utterances, _ = split_speakers(utterances, read_speakers(args.only_speakers))
    if not utterances:
        raise DataError("No utterance is left to evaluate: check --split and --only-speakers.")
    dataset = SpeechDataset(utterances, model.log_mel(), model.alphabet, model.encoder.output_lengths)
    batches = loader(dataset, bucket(utterances, None, 100.0, None), workers=1)
    evaluation = evaluate(model.encoder, tqdm(batches, unit="batch", file=sys.stderr), model.alphabet)
    for skipped in evaluation.skipped:
        print(f"Skipped {skipped.id}: {skipped.reason}", file=sys.stderr)
    if not evaluation.decoded:
        raise DataError("No utterance could be evaluated.")
    if args.format == "json":
        print(json.dumps({"checkpoint": args.checkpoint, **evaluation.summary()}))
    else:
        words, characters = evaluation.words, evaluation.characters
        print(
            f"{len(evaluation.decoded):,} utterances, {evaluation.audio_s / 3600:.2f} h, {len(evaluation.skipped)} skipped\n"
            f"WER {evaluation.wer:.4f}  ({words.substitutions} substituted, {words.deletions} deleted, "
            f"{words.insertions} inserted of {words.reference} words)\n"
            f"CER {evaluation.cer:.4f}  ({characters.substitutions} substituted, {characters.deletions} deleted, "
            f"{characters.insertions} inserted of {characters.reference} characters)\n"
            f"real-time factor {evaluation.real_time_factor:.4f} "
            f"({torch.get_num_threads()} threads, encoder and decoder)"
        )
    return 2 if evaluation.skipped else 0


def diagnose_file(args: argparse.Namespace) -> int:
    diagnosis = diagnose(**read(args.file))
    print(diagnosis.as_json() if args.format == "json" else diagnosis)
    return 1 if diagnosis.errors else 0


def main() -> int:
    description = "Transcribe speech, align text with it, and measure a model."
    parser = argparse.ArgumentParser(prog="python -m asr_core", description=description)
    commands = parser.add_subparsers(dest="command", required=True)

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
        each.add_argument("--out", type=Path, metavar="FOLDER", help="write a file for each recording instead of printing")

    evaluation = commands.add_parser("evaluate", help="WER, CER and real-time factor on a corpus")
    evaluation.add_argument("corpus", help="a manifest .tsv, or a folder of LibriSpeech's layout")
    evaluation.add_argument("--split", help="only the manifest's rows of this split")
    evaluation.add_argument("--only-speakers", type=Path, metavar="FILE", help="only these speakers, one id a line")
    evaluation.add_argument("--format", choices=("text", "json"), default="text")
    evaluation.set_defaults(run=evaluate_corpus)

    doctor = commands.add_parser("diagnose", help="find what is wrong with a batch as it is given to a CTC loss")
    doctor.add_argument("file", type=Path, help="FILE.npz or FILE.safetensors with log_probs, targets, input_lengths ...")
    doctor.add_argument("--format", choices=("text", "json"), default="text")
    doctor.set_defaults(run=diagnose_file)

    for each in (transcribing, aligning, evaluation):
        each.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="DIR_OR_HUB_ID")
    args = parser.parse_args()
    try:
        return args.run(args)
    except (AlignmentError, AudioError, CheckpointError, DataError, EvidenceError, TextError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
