"""benchmark: how fast a checkpoint is on this machine, beside other models; with --data, how right as well."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version

from tqdm import tqdm

from asr_core import DEFAULT_CHECKPOINT, adapters, peers, scoring, shipped
from asr_core.benchmark import LEAST, MOST, BenchmarkError, benchmark, processor
from asr_core.commands.evaluate import CORPUS, add_choice, corpus, count
from asr_core.many import cores
from asr_core.side_by_side import Outcome, named, side_by_side

SPEED = "| system | parameters | clip | features | encoder | greedy | beam | whole | real-time factor | × ours | memory |"
COMPARED = "| system | decoder | threads | WER | real-time factor | × {} |"


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("benchmark", help="measure how fast a checkpoint is on this machine, beside other models")
    models = f"{shipped.choices()}, a folder, or a Hub id; as often as there are checkpoints"
    parser.add_argument("--checkpoint", action="append", metavar="MODEL", help=models)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--threads", type=count, help=f"(default: one a core, here {cores()}; with --data one, then two)")
    parser.add_argument("--smoke", action="store_true", help="one second, a few times: only to see that it runs")
    data = parser.add_argument_group("word errors and time on the same clips")
    data.add_argument("--data", dest="corpus", metavar="CORPUS", help=CORPUS)
    add_choice(data)
    data.add_argument("--every", type=count, default=1, help="use every n-th utterance (default: 1)")
    peer = f"{peers.FASTER_WHISPER}:FOLDER"
    data.add_argument("--peer", action="append", default=[], metavar=peer, help="read them with this, too; again for more")
    parser.set_defaults(run=run)
    return []


def run(args: argparse.Namespace) -> int:
    checkpoints = args.checkpoint or [str(DEFAULT_CHECKPOINT)]
    if args.corpus:
        return compare(args, checkpoints)
    if args.peer:
        raise BenchmarkError("--peer is measured on recorded speech. Name it with --data MANIFEST.")
    seconds, effort_s, starts = ([1.0], 0.0, 1) if args.smoke else ([3.0, 10.0, 30.0], 2.0, 3)

    for each in checkpoints:
        adapters.load_own(each)  # what is wrong with it is told before anything is measured

    def report(doing: str) -> None:
        print(f"measuring: {doing}", file=sys.stderr)

    measured = benchmark(checkpoints, args.threads or cores(), seconds, effort_s, starts, report)
    print(json.dumps(measured, indent=2, ensure_ascii=False) if args.format == "json" else table(measured))
    return 0


def compare(args: argparse.Namespace, checkpoints: list[str]) -> int:
    normalise = scoring.normaliser()
    versions = {"python": platform.python_version(), "torch": version("torch"), scoring.PACKAGE: version(scoring.PACKAGE)}
    for peer in args.peer:
        versions |= peers.require(peer)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": load, "versions": versions}
    utterances, systems = corpus(args)[:: args.every], named(checkpoints, args.peer)
    outcomes = []
    for threads in [args.threads] if args.threads else [1, 2]:
        # The delay: no bar before the processes have told that they can begin.
        with tqdm(utterances, f"threads: {threads}", unit="clip", file=sys.stderr, delay=1e-9) as clips:
            outcomes.append(side_by_side(systems, clips, threads, normalise))
    for skipped in outcomes[0].skipped:
        print(f"Skipped {skipped.id}: {skipped.reason}", file=sys.stderr)
    measured = machine | figures(outcomes)
    print(json.dumps(measured, indent=2, ensure_ascii=False) if args.format == "json" else compared(measured))
    return 2 if outcomes[0].skipped else 0


def figures(outcomes: list[Outcome]) -> dict:
    """As JSON has them."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    return {
        "utterances": outcomes[0].clips,
        "skipped": len(outcomes[0].skipped),
        "audio_s": rows[0].audio_s,
        "rows": [{**asdict(row), "wer": row.words.rate, "real_time_factor": row.real_time_factor} for row in rows],
    }


def compared(measured: dict) -> str:
    """As Markdown has it."""
    rows, normaliser = measured["rows"], f"{scoring.PACKAGE} {measured['versions'][scoring.PACKAGE]}"
    header = COMPARED.format(f"{rows[0]['system']}, {rows[0]['decoder']}")
    words = f"{measured['utterances']:,} utterances, {measured['audio_s']:,.0f} s, {rows[0]['words']['reference']:,} words"
    lines = [f"{_machine(measured)}.", f"{words}, {measured['skipped']} skipped.", "", header]
    lines += ["|" + "---|" * (header.count("|") - 1)]
    for row in rows:
        cells = [row["system"], row["decoder"], f"{row['threads']}", f"{row['wer']:.4f}"]
        cells += [f"{row['real_time_factor']:.4f}", f"{row['times_first']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"WER: both sides through Whisper's normaliser for English ({normaliser}), then digits as words. Real-time factor: "
        "seconds from samples in memory to text, for each second of sound. All read a clip before any reads the next.",
    ]
    if peers.FASTER_WHISPER in measured["versions"]:
        lines.append(f"{peers.FASTER_WHISPER}: {peers.SETTINGS}.")
    return "\n".join(lines)


def _machine(measured: dict) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    threads = f", {measured['threads']} threads" if "threads" in measured else ""
    load = f", a load of {measured['load']:.1f} before" if measured.get("load") is not None else ""
    return f"{measured['processor']}, {measured['cores']} cores{threads}{load}; {versions}"


def table(measured: dict) -> str:
    """As Markdown has it."""
    lines = [f"{_machine(measured)}.", "", SPEED, "|" + "---|" * (SPEED.count("|") - 1)]
    for row in measured["rows"]:
        cells = [row["system"], f"{row['parameters']:,}", f"{row['clip_s']:g} s"]
        cells += [_ms(row[stage]) for stage in ("features_s", "encoder_s", "greedy_s", "beam_s", "whole_s")]
        cells += [f"{row['real_time_factor']:.4f}", f"{row['times_ours']:.1f}"]
        cells += [f"{row['peak_memory'] / 1e6:.0f} MB" if row["peak_memory"] else ""]
        lines.append(f"| {' | '.join(cells)} |")
    made_of = {row["system"]: row["made_of"] for row in measured["rows"]}
    start = measured["start"]
    lines += [
        "",
        f"Medians of {LEAST} to {MOST}. Whole: from a WAV file to its text, greedily. Memory: the most that the process "
        "had held by then, torch included.",
        "; ".join(f"{name}: {what}" for name, what in made_of.items()) + ".",
        f"From process start to the first answer: {start['first_answer_s']:.2f} s, {start['over_imports_s']:.2f} s more "
        f"than the bare imports of torch and gradio ({start['imports_s']:.2f} s).",
    ]
    return "\n".join(lines)


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"
