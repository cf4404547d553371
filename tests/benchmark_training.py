"""How fast each preset trains, and whether the loader keeps up: python tests/benchmark_training.py [MANIFEST] [--threads N]

Audio seconds a second, medians over batches of real speech, everything in one run: the loader alone, in one worker process,
and the updates alone, on batches that are in memory already. Without a manifest: the bundled examples, again and again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from asr_core.data.batches import Batch
from asr_core.data.utterances import read_manifest
from asr_core.training.config import PRESETS
from asr_core.training.loop import TrainingRun

EXAMPLES = Path(__file__).parent.parent / "examples" / "manifest.tsv"
BATCHES = 8  # measured of each preset
BATCH_S = 50.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    utterances = read_manifest(args.manifest, "train") if args.manifest else read_manifest(EXAMPLES) * 40
    rates = {}
    print(f"torch {torch.__version__}, {args.threads} threads, batches of {BATCH_S:.0f} s, {len(utterances):,} utterances")
    print(f"{'preset':12} {'parameters':>12} {'loader alone':>14} {'updates alone':>14}   audio seconds a second")
    for name, preset in PRESETS.items():
        config = replace(preset, batch_size=None, batch_s=BATCH_S)
        with tempfile.TemporaryDirectory() as folder:
            run = TrainingRun(config, utterances, utterances[:1], Path(folder))
            rates[name] = measure(run)
        loader, updates = rates[name]
        print(f"{name:12} {run.encoder.parameter_count:12,} {loader:14.0f} {updates:14.1f}")
    print(f"fast trains {rates['fast'][1] / rates['deepspeech2'][1]:.1f} times as fast as deepspeech2")


def measure(run: TrainingRun) -> tuple[float, float]:
    """(loader alone, updates alone) in audio seconds a second."""
    batches, loading = [], []
    started = time.perf_counter()
    for batch in run.loader(0, run.batches[: BATCHES + 3]):
        loading.append(seconds(batch) / (time.perf_counter() - started))
        batches.append(batch)
        started = time.perf_counter()
    run.encoder.train()
    updating = []
    for batch in batches:
        started = time.perf_counter()
        run.step(batch)
        updating.append(seconds(batch) / (time.perf_counter() - started))
    # The first batches wait for the worker to start, and for memory.
    return statistics.median(loading[3:]), statistics.median(updating[3:])


def seconds(batch: Batch) -> float:
    return sum(utterance.duration_s for utterance in batch.utterances)


if __name__ == "__main__":
    main()
