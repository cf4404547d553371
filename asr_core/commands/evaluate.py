"""evaluate: WER, CER and real-time factor on a corpus, and how sure they are."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from asr_core import Transcriber, adapters
from asr_core.bootstrap import RESAMPLES, Intervals, intervals
from asr_core.calibration import BINS, calibration_error
from asr_core.conditions import CONDITIONS
from asr_core.data.batches import evaluation_batches
from asr_core.data.utterances import DataError, Utterance, read_speakers, read_utterances, split_speakers
from asr_core.decoding import DECODERS
from asr_core.emission import Emission
from asr_core.evaluation import Evaluation, evaluate
from asr_core.metrics import words_right
from asr_core.sound import Sound
from asr_core.transcription import Transcription

CORPUS = "a manifest .tsv, or a folder of LibriSpeech's layout"


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser(
        "evaluate",
        help="WER, CER and real-time factor on a corpus",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="conditions:\n" + "\n".join(f"  {name:<17}{each.phrase}" for name, each in CONDITIONS.items()),
    )
    add_corpus(parser)
    parser.add_argument("--decoder", choices=DECODERS, default="greedy")
    parser.add_argument("--condition", choices=CONDITIONS, metavar="NAME", help="how the corpus is to sound, see below")
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
    parser.add_argument("--exclude-speakers", type=Path, metavar="FILE", help="all but these speakers, one id a line")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a whole number from 1 on")
    return int(text)


def corpus(args: argparse.Namespace) -> list[Utterance]:
    utterances = read_utterances(args.corpus, args.split)
    if args.only_speakers:
        utterances, _ = split_speakers(utterances, read_speakers(args.only_speakers))
    if args.exclude_speakers:
        _, utterances = split_speakers(utterances, read_speakers(args.exclude_speakers))
    if not utterances:
        raise DataError("No utterance is left: check --split, --only-speakers and --exclude-speakers.")
    return utterances


def run(args: argparse.Namespace) -> int:
    transcriber = Transcriber(adapters.load_own(args.checkpoint))
    model = transcriber.model
    listening = model.log_mel(), model.alphabet, model.encoder.output_lengths
    batches = evaluation_batches(corpus(args), *listening, condition=args.condition)

    def decode(outputs: Tensor) -> Transcription:
        emission = Emission.of_outputs(outputs, model.frame_s, model.alphabet)
        return transcriber.read(emission, Sound.unheard(len(emission) * model.frame_s), args.decoder)

    evaluation = evaluate(model, tqdm(batches, unit="batch", file=sys.stderr), decode=decode)
    for skipped in evaluation.skipped:
        print(f"Skipped {skipped.id}: {skipped.reason}", file=sys.stderr)
    if not evaluation.decoded:
        raise DataError("No utterance could be evaluated.")
    write = as_json if args.format == "json" else as_text
    print(write(args, evaluation, intervals(evaluation), calibration_errors(evaluation)))
    return 2 if evaluation.skipped else 0


def calibration_errors(evaluation: Evaluation) -> tuple[float, float] | None:
    """Of the words' scores and of their confidences; None where no word was heard."""
    words = [word for each in evaluation.decoded for word in each.words]
    if not words:
        return None
    right = np.array([hit for each in evaluation.decoded for hit in words_right(each.reference, each.hypothesis)])
    scores, confidences = np.array([(word.score, word.confidence) for word in words]).T
    return calibration_error(scores, right), calibration_error(confidences, right)


def as_json(args: argparse.Namespace, evaluation: Evaluation, sure: Intervals, trust: tuple[float, float] | None) -> str:
    figures = {
        "checkpoint": args.checkpoint,
        "decoder": args.decoder,
        **evaluation.summary(),
        "condition": args.condition,
        "wer_interval": sure.wer,
        "cer_interval": sure.cer,
        "interval": f"95 %, bootstrap over {sure.over}",
        "calibration_error": trust and {"score": trust[0], "confidence": trust[1]},
    }
    if args.by_speaker:
        speakers = evaluation.of_speakers().items()
        figures["speakers"] = {name: {"wer": words.rate, "cer": characters.rate} for name, (words, characters) in speakers}
    return json.dumps(figures)


def as_text(args: argparse.Namespace, evaluation: Evaluation, sure: Intervals, trust: tuple[float, float] | None) -> str:
    words, characters = evaluation.words, evaluation.characters
    counted = f"{len(evaluation.decoded):,} utterances, {evaluation.audio_s / 3600:.2f} h, {len(evaluation.skipped)} skipped"
    lines = [
        f"{counted}, {CONDITIONS[args.condition].phrase}" if args.condition else counted,
        f"WER {evaluation.wer:.4f}  ({words.substitutions} substituted, {words.deletions} deleted, "
        f"{words.insertions} inserted of {words.reference} words)",
        f"CER {evaluation.cer:.4f}  ({characters.substitutions} substituted, {characters.deletions} deleted, "
        f"{characters.insertions} inserted of {characters.reference} characters)",
        f"95 % intervals  WER {_shown(sure.wer)}, CER {_shown(sure.cer)}  ({RESAMPLES:,} resamples of {sure.over})",
    ]
    if trust:
        lines.append(f"calibration error  {trust[0]:.4f} of scores, {trust[1]:.4f} of confidences  ({BINS} bins)")
    lines.append(
        f"real-time factor {evaluation.real_time_factor:.4f} "
        f"({torch.get_num_threads()} threads, encoder and {args.decoder} decoder)"
    )
    if args.by_speaker:
        for name, (of_words, of_characters) in evaluation.of_speakers().items():
            rates = f"WER {of_words.rate:.4f}, CER {of_characters.rate:.4f}"
            lines.append(f"speaker {name}: {rates} ({of_words.reference} words)")
    return "\n".join(lines)


def _shown(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"
