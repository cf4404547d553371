"""evaluate: WER, CER and real-time factor on a corpus."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from asr_core import Transcriber, adapters
from asr_core.beam import beam_text
from asr_core.data.batches import evaluation_batches
from asr_core.data.utterances import DataError, Utterance, read_speakers, read_utterances, split_speakers
from asr_core.emission import Emission
from asr_core.evaluation import evaluate
from asr_core.transcriber import DECODERS

CORPUS = "a manifest .tsv, or a folder of LibriSpeech's layout"


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("evaluate", help="WER, CER and real-time factor on a corpus")
    add_corpus(parser)
    parser.add_argument("--decoder", choices=DECODERS, default="greedy")
    parser.add_argument("--by-speaker", action="store_true", help="also the figures of every speaker")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)
    return [parser]


def add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", help=CORPUS)
    add_choice(parser)


def add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", help="only the manifest's rows of this split")
    parser.add_argument("--only-speakers", type=Path, metavar="FILE", help="only these speakers, one id a line")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a whole number from 1 on")
    return int(text)


def corpus(args: argparse.Namespace) -> list[Utterance]:
    utterances = read_utterances(args.corpus, args.split)
    if args.only_speakers:
        utterances, _ = split_speakers(utterances, read_speakers(args.only_speakers))
    if not utterances:
        raise DataError("No utterance is left to evaluate: check --split and --only-speakers.")
    return utterances


def run(args: argparse.Namespace) -> int:
    transcriber = Transcriber(adapters.load_own(args.checkpoint))
    model = transcriber.model
    batches = evaluation_batches(corpus(args), model.log_mel(), model.alphabet, model.encoder.output_lengths)

    def beam(outputs: Tensor) -> str:
        return beam_text(Emission.of_outputs(outputs, model.frame_s, model.alphabet), transcriber.lookahead)

    decode = beam if args.decoder == "beam" else None
    evaluation = evaluate(model, tqdm(batches, unit="batch", file=sys.stderr), decode=decode)
    for skipped in evaluation.skipped:
        print(f"Skipped {skipped.id}: {skipped.reason}", file=sys.stderr)
    if not evaluation.decoded:
        raise DataError("No utterance could be evaluated.")
    speakers = evaluation.of_speakers() if args.by_speaker else {}
    if args.format == "json":
        figures = {"checkpoint": args.checkpoint, "decoder": args.decoder, **evaluation.summary()}
        if speakers:
            figures["speakers"] = {name: {"wer": w.rate, "cer": c.rate} for name, (w, c) in speakers.items()}
        print(json.dumps(figures))
    else:
        words, characters = evaluation.words, evaluation.characters
        print(
            f"{len(evaluation.decoded):,} utterances, {evaluation.audio_s / 3600:.2f} h, {len(evaluation.skipped)} skipped\n"
            f"WER {evaluation.wer:.4f}  ({words.substitutions} substituted, {words.deletions} deleted, "
            f"{words.insertions} inserted of {words.reference} words)\n"
            f"CER {evaluation.cer:.4f}  ({characters.substitutions} substituted, {characters.deletions} deleted, "
            f"{characters.insertions} inserted of {characters.reference} characters)\n"
            f"real-time factor {evaluation.real_time_factor:.4f} "
            f"({torch.get_num_threads()} threads, encoder and {args.decoder} decoder)"
        )
        for name, (of_words, of_characters) in speakers.items():
            print(f"speaker {name}: WER {of_words.rate:.4f}, CER {of_characters.rate:.4f} ({of_words.reference} words)")
    return 2 if evaluation.skipped else 0
