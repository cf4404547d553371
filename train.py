"""Train a CTC model.

    python train.py --data manifest.tsv --out runs/fast                      the page's model (splits train, valid)
    python train.py --data LIBRISPEECH_ROOT --train-subsets train-clean-100 --valid-subsets test-clean --download
    python train.py --preset deepspeech2 --data ... --out runs/deepspeech2   the starting script, mended
    torchrun --nproc-per-node 8 train.py --data ... --out runs/fast          on all GPUs (or cores) of a machine
    torchrun --nnodes 2 --node-rank 0 --master-addr HOST --nproc-per-node 8 train.py ...   and of several

Interrupt it whenever you like: the same command goes on where it stopped. --max-minutes stops it cleanly.
OUT/best and OUT/last are checkpoints for `python app.py --checkpoint` and `python -m asr_core`; curves are in
OUT/tensorboard.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import threading
from pathlib import Path

import torch

from asr_core import CtcError, checkpoint
from asr_core.data.batches import evaluation_batches
from asr_core.data.librispeech import librispeech_subsets
from asr_core.data.utterances import DataError, Utterance, read_manifest, read_speakers, split_speakers
from asr_core.evaluation import evaluate
from asr_core.files import sentence
from asr_core.replay import ReplayError
from asr_core.training import processes
from asr_core.training.config import PRESETS, TrainingConfig
from asr_core.training.loop import TrainingRun
from asr_core.training.state import StateError

RECIPE = (
    "epochs",
    "max_lr",
    "head_rate",
    "batch_size",
    "batch_s",
    "optimiser",
    "ema_decay",
    "phone_weight",
    "consistency",
    "seed",
)
CR_CTC_TIME_MASKS = 2.5  # times as many (Yao et al. 2024, arXiv 2410.05101, section 3)


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"it is {text}; it must be greater than 0")
    return value


def part_of_one(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"it is {text}; it must lie between 0 and 1")
    return value


def positive_whole(text: str) -> int:
    positive(text)
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="fast", help="encoder, features and recipe (default: fast)")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        help="a manifest .tsv, and more of them for more training utterances; or the root that holds LibriSpeech/",
    )
    data.add_argument("--train-subsets", nargs="+", default=["train-clean-100"], help="LibriSpeech subsets to train on")
    data.add_argument("--valid-subsets", nargs="+", default=["test-clean"], help="LibriSpeech subsets to validate on")
    data.add_argument("--download", action="store_true", help="fetch missing LibriSpeech subsets from openslr.org")
    data.add_argument("--exclude-speakers", type=Path, metavar="FILE", help="speakers to keep out of training, one a line")
    run = parser.add_argument_group("run")
    run.add_argument("--out", type=Path, default=Path("runs/latest"), help="folder of the run (default: runs/latest)")
    run.add_argument(
        "--init-from",
        metavar="CHECKPOINT",
        help="start from the weights of a checkpoint (a shipped one by its name, a folder, a Hub id) or, with the presets "
        "tiny, base and small, of a Whisper: hf:ORG/NAME, hf:FOLDER, ct2:FOLDER (docs/whisper.md)",
    )
    run.add_argument("--max-minutes", type=float, default=math.inf, help="stop cleanly after this long; run again to go on")
    run.add_argument("--threads", type=int, default=1, help="torch threads; more than one only on an idle machine (1)")
    run.add_argument("--workers", type=int, default=1, help="processes that decode audio; 0 for none (1)")
    recipe = parser.add_argument_group("recipe, in place of the preset's (printed at the start, saved in every checkpoint)")
    recipe.add_argument("--epochs", type=positive_whole, help="passes over the training data")
    recipe.add_argument("--max-lr", type=positive, help="peak of the one-cycle schedule")
    recipe.add_argument("--head-rate", type=positive, help="times as much for what is not pretrained")
    recipe.add_argument("--batch-size", type=positive_whole, help="utterances in a batch")
    recipe.add_argument("--batch-s", type=positive, help="seconds of audio in a batch, over all processes")
    recipe.add_argument("--optimiser", choices=("adamw", "muon"), help="muon learns more a step, and pays on a GPU")
    recipe.add_argument("--dropout", type=part_of_one, help="in the encoder")
    recipe.add_argument("--ema-decay", type=part_of_one, help="of the averaged weights; 0 for none")
    recipe.add_argument("--phone-weight", type=part_of_one, nargs=2, metavar=("FIRST", "LAST"), help="of the phone CTC loss")
    recipe.add_argument(
        "--consistency",
        type=positive,
        metavar="WEIGHT",
        help="of CR-CTC, such as 0.2: two views of each utterance, masked more; doubles the work",
    )
    recipe.add_argument("--noise", type=part_of_one, metavar="PART", help="of the utterances that get noise")
    recipe.add_argument("--reverberation", type=part_of_one, metavar="PART", help="of the utterances put into a room")
    recipe.add_argument("--band-limit", type=part_of_one, metavar="PART", help="of the utterances without high frequencies")
    recipe.add_argument(
        "--silence", type=part_of_one, metavar="PART", help="of the utterances with silence before, in or after"
    )
    recipe.add_argument("--quiet", type=part_of_one, metavar="PART", help="of the utterances that are up to 40 dB quieter")
    recipe.add_argument("--seed", type=int, help="of everything random")
    return parser.parse_args()


def configuration(args: argparse.Namespace, device: torch.device) -> TrainingConfig:
    """The preset with what was chosen in its place."""
    config = PRESETS[args.preset]
    given = {name: value for name, value in vars(args).items() if value is not None}
    chosen = {name: given[name] for name in RECIPE if name in given}
    if "batch_size" in chosen:
        chosen.setdefault("batch_s", None)
    elif "batch_s" in chosen:
        chosen["batch_size"] = None
    if "dropout" in given:
        chosen["encoder"] = {**config.encoder, "dropout": args.dropout}
    changed = {name: given[name] for name in ("noise", "reverberation", "band_limit", "silence", "quiet") if name in given}
    if "consistency" in given:  # what one view hides the other one shows, so more can be hidden
        changed["time_masks"] = round(CR_CTC_TIME_MASKS * config.augmentation.time_masks)
    chosen["augmentation"] = dataclasses.replace(config.augmentation, **changed)
    if config.bfloat16 and device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        print("This processor has no bfloat16 products, so everything is computed in float32: slower, and as good.")
        chosen["bfloat16"] = False
    return dataclasses.replace(config, **chosen)


def corpus(args: argparse.Namespace) -> tuple[list[Utterance], list[Utterance]]:
    """(training, validation) utterances."""
    first, *more = args.data
    if first.is_file() or more:
        train = [utterance for path in args.data for utterance in read_manifest(path, "train")]
        valid = read_manifest(first, "valid")
    else:
        train = librispeech_subsets(first, args.train_subsets, args.download)
        valid = librispeech_subsets(first, args.valid_subsets, args.download)
    if args.exclude_speakers:
        _, train = split_speakers(train, read_speakers(args.exclude_speakers))
    if not train:
        raise DataError("No training utterance is left: --exclude-speakers names every speaker.")
    return train, valid


def final_test(run: TrainingRun, folder: Path) -> None:
    """Load the saved checkpoint as anybody would, and measure it again, in float32."""
    loaded = checkpoint.load(folder)
    batches = evaluation_batches(
        run.valid_utterances, loaded.log_mel(), loaded.alphabet, loaded.encoder.output_lengths, workers=run.workers
    )
    evaluation = evaluate(loaded, batches)
    print(f"final test of {folder}: {json.dumps(evaluation.summary())}")


def thread_failed(args: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands its error on to the main one, where it becomes a sentence: nothing to print beside it."""
    if not issubclass(args.exc_type, OSError):
        threading.__excepthook__(args)


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    device = processes.start()
    before, threading.excepthook = threading.excepthook, thread_failed
    try:
        return train(args, device)
    except (DataError, StateError, ReplayError, checkpoint.CheckpointError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # what was saved before is whole
        print(f"train.py: {sentence(error, args.out)}", file=sys.stderr)
        return 2
    except (CtcError, processes.ProcessLost) as error:  # the state on disk is from before
        print(f"train.py: training failed. {error}", file=sys.stderr)
        return 1
    finally:
        threading.excepthook = before
        processes.leave()


def train(args: argparse.Namespace, device: torch.device) -> int:
    config = configuration(args, device)
    train, valid = corpus(args)
    run = TrainingRun(config, train, valid, args.out, init_from=args.init_from, workers=args.workers, device=device)
    hours = [sum(utterance.duration_s for utterance in part) / 3600 for part in (train, valid)]
    say = print if processes.is_first() else lambda _: None
    say(json.dumps(config.as_dict(), indent=2))
    say(
        f"{run.encoder.parameter_count:,} parameters on {device.type}, processes: {processes.count()}; "
        f"{len(train):,} training utterances ({hours[0]:.1f} h), {len(valid):,} validation utterances ({hours[1]:.1f} h); "
        f"{config.epochs} epochs of about {len(run.batches):,} steps, {run.progress['step']:,} steps done"
    )
    finished = run.run(args.max_minutes)
    if not finished:
        say(f"Stopped after step {run.progress['step']:,}; the same command goes on from here.")
    elif processes.is_first():
        final_test(run, args.out / "best")
    return 0


if __name__ == "__main__":
    sys.exit(main())
