"""benchmark: how fast a checkpoint is on this machine, beside other models."""

from __future__ import annotations

import argparse
import json
import sys

from asr_core import adapters
from asr_core.benchmark import LEAST, MOST, benchmark
from asr_core.many import cores

HEADER = "| system | parameters | clip | features | encoder | greedy | beam | whole | real-time factor | × ours | memory |"


def add(commands: argparse._SubParsersAction) -> list[argparse.ArgumentParser]:
    parser = commands.add_parser("benchmark", help="measure how fast a checkpoint is on this machine, beside other models")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--threads", type=int, default=cores(), help="(default: one a core, here %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="one second, a few times: only to see that it runs")
    parser.set_defaults(run=run)
    return [parser]


def run(args: argparse.Namespace) -> int:
    seconds, effort_s, starts = ([1.0], 0.0, 1) if args.smoke else ([3.0, 10.0, 30.0], 2.0, 3)

    adapters.load_own(args.checkpoint)  # what is wrong with it is told before anything is measured

    def report(doing: str) -> None:
        print(f"measuring: {doing}", file=sys.stderr)

    measured = benchmark(args.checkpoint, max(1, args.threads), seconds, effort_s, starts, report)
    print(json.dumps(measured, indent=2, ensure_ascii=False) if args.format == "json" else table(measured))
    return 0


def table(measured: dict) -> str:
    """As Markdown has it."""
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    lines = [f"{measured['processor']}, {measured['cores']} cores, {measured['threads']} threads; {versions}.", ""]
    lines += [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
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
