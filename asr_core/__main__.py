"""python -m asr_core transcribe | evaluate. Exit code 2 when some input could not be used."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from asr_core import DEFAULT_CHECKPOINT, Transcriber
from asr_core.audio import AudioError
from asr_core.checkpoint import CheckpointError
from asr_core.data.batches import SpeechDataset, bucket, loader
from asr_core.data.utterances import DataError, read_speakers, read_utterances, split_speakers
from asr_core.evaluation import evaluate


def transcribe(args: argparse.Namespace) -> int:
    transcriber = Transcriber.from_checkpoint(args.checkpoint)
    failed = 0
    for path in args.audio:
        try:
            transcription = transcriber.transcribe(path)
        except AudioError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        if args.format == "json":
            print(json.dumps({"audio": str(path), **transcription.as_dict()}), flush=True)
        else:
            print(transcription.text, flush=True)
    return 2 if failed else 0


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
            f"real-time factor {evaluation.compute_s / max(evaluation.audio_s, 1e-9):.4f} "
            f"({torch.get_num_threads()} threads, encoder and decoder)"
        )
    return 2 if evaluation.skipped else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m asr_core", description="Transcribe speech, and measure a model.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("transcribe", help="write what was said in audio files")
    command.add_argument("audio", nargs="+", type=Path)
    command.add_argument("--format", choices=("text", "json"), default="text", help="json: words and letters with times")
    command.set_defaults(run=transcribe)

    evaluation = commands.add_parser("evaluate", help="WER, CER and real-time factor on a corpus")
    evaluation.add_argument("corpus", help="a manifest .tsv, or a folder of LibriSpeech's layout")
    evaluation.add_argument("--split", help="only the manifest's rows of this split")
    evaluation.add_argument("--only-speakers", type=Path, metavar="FILE", help="only these speakers, one id a line")
    evaluation.add_argument("--format", choices=("text", "json"), default="text")
    evaluation.set_defaults(run=evaluate_corpus)

    for each in (command, evaluation):
        each.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="DIR_OR_HUB_ID")
    args = parser.parse_args()
    try:
        return args.run(args)
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
