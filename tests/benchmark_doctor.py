"""How much the Doctor costs: python tests/benchmark_doctor.py

Prints, on one thread, medians for 20 utterances of 15 s: the rules that need tensors alone, at 25 and at 40 frames a second,
and the whole diagnosis with its CTC losses. Then what `watch` adds to steps of training of the `fast` preset, as a share.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from asr_core import diagnose, watch
from asr_core.doctor.diagnosis import conclude
from asr_core.doctor.evidence import Evidence
from asr_core.models import build_encoder
from asr_core.training.config import PRESETS

UTTERANCES, TOKENS, VOCABULARY, BLANK = 20, 180, 29, 28
SPEECH_S = 12.5  # four of these are a batch of the preset
STEPS = 60


def median_ms(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def batch(frames: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    lengths = torch.randint(frames - 100, frames + 1, (UTTERANCES,))
    lengths[0] = frames
    log_probs = (3 * torch.randn(frames, UTTERANCES, VOCABULARY)).log_softmax(-1)
    return log_probs, torch.randint(0, 28, (UTTERANCES, TOKENS)), lengths, torch.randint(120, TOKENS + 1, (UTTERANCES,))


def watched_steps() -> tuple[float, float, list[float]]:
    """Seconds of STEPS steps of the preset, of which in watch, and the seconds of each of its examinations."""
    config = PRESETS["fast"]
    encoder = build_encoder(config.encoder)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-4, fused=True)
    count = round(config.batch_s / SPEECH_S)
    features, lengths = torch.randn(count, 1, 80, round(100 * SPEECH_S)), torch.full((count,), round(100 * SPEECH_S))
    targets, target_lengths = torch.randint(0, 28, (count, 150)), torch.full((count,), 150)
    doctor = watch(encoder, blank=BLANK, say=lambda sentence: None)
    spent, examined = 0.0, []
    started = time.perf_counter()
    for _ in range(STEPS):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            encoded = encoder(features, lengths)
        log_probs = encoded.logits.float().log_softmax(-1).transpose(0, 1)
        loss = F.ctc_loss(log_probs, targets, encoded.lengths, target_lengths, blank=BLANK)
        optimiser.zero_grad()
        loss.backward()
        asked = time.perf_counter()
        if doctor.step(log_probs, targets, encoded.lengths, target_lengths, loss) is not None:
            examined.append(time.perf_counter() - asked)
        spent += time.perf_counter() - asked
        optimiser.step()
    return time.perf_counter() - started, spent, examined


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for frames in (375, 600):
        tensors = batch(frames)
        light = median_ms(lambda: conclude(Evidence(*tensors, blank=BLANK), heavy=False), 50)  # noqa: B023
        whole = median_ms(lambda: diagnose(*tensors, blank=BLANK), 5)  # noqa: B023
        print(
            f"{UTTERANCES} utterances of 15 s, {frames} frames: tensor rules {light:.2f} ms, whole diagnosis {whole:.0f} ms"
        )
    total, spent, examined = watched_steps()
    print(
        f"watch: {100 * spent / total:.2f} % of {STEPS} steps of {1e3 * (total - spent) / STEPS:.0f} ms of the fast preset"
    )
    print(f"       {len(examined)} examinations, the longest {1e3 * max(examined):.0f} ms; they grow rarer with every step")


if __name__ == "__main__":
    main()
