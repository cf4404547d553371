"""How fast the model is, beside others: every system in a process of its own, on the same speech, in one run.

Speed does not depend on the weights, so that those of the other systems are random.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile as sf
import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from asr_core import audio, checkpoint, shipped
from asr_core.beam import beam_text
from asr_core.checkpoint import Checkpoint
from asr_core.decoding import greedy_decode
from asr_core.emission import Emission
from asr_core.features import FeatureConfig, LogMel
from asr_core.files import write_atomically
from asr_core.models import build_encoder
from asr_core.models.masking import strided_length
from asr_core.text import Alphabet
from asr_core.transcriber import Transcriber

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RATE = 16_000  # Hz
ALPHABET = Alphabet()
LEAST, MOST = 3, 15  # repeats of a measurement
IMPORTS = "import torch, gradio"
FIRST_ANSWER = """
import sys, app
app.Transcriber.from_checkpoint(sys.argv[1]).transcribe(sys.argv[2])
"""
MEASURE = """
import json, sys
from asr_core.benchmark import measure
print(json.dumps(measure(*json.loads(sys.argv[1]))))
"""


class BenchmarkError(RuntimeError):
    """A measurement that came to nothing; the message says which."""


@dataclass(frozen=True)
class System:
    """features: (S,) -> what the encoder takes, None where that is the waveform. encode: -> (T', V), with
    the phones behind them where a model hears some. transcribe: the whole way, from a file to its text. beam: from what
    encode gives to the text, where there is a language model."""

    made_of: str
    parameters: int
    features: Callable[[Tensor], Tensor] | None
    encode: Callable[[Tensor], Tensor]
    transcribe: Callable[[Path], object]
    beam: Callable[[Tensor], object] | None = None


def ours(model: Checkpoint) -> System:
    """What the page runs; its whole way ends in a Transcription, with words and their times."""
    transcriber = Transcriber(model)

    def beam(outputs: Tensor) -> object:
        return beam_text(Emission.of_outputs(outputs, model.frame_s, model.alphabet), transcriber.lookahead)

    return System(
        f"{type(model.encoder).__name__}, {model.features.n_mels} mels",
        model.encoder.parameter_count,
        transcriber.log_mel,
        transcriber.outputs,
        lambda path: transcriber.transcribe(path, "greedy"),
        beam if transcriber.lookahead else None,
    )


def deepspeech2() -> System:
    encoder = build_encoder({"name": "deepspeech2"}).eval()
    return ours(Checkpoint("deepspeech2", encoder, FeatureConfig(n_mels=encoder.config.n_mels), ALPHABET))


def wav2vec2() -> System:
    model = torchaudio.models.wav2vec2_base(aux_num_out=len(ALPHABET)).eval()
    return _compared("12 layers of 768 on the waveform", model, None, lambda waveform: model(waveform[None])[0])


class Conformer(nn.Module):
    """torchaudio's, with what it needs around it: 80 mels, two convolutions of stride 2 before it, a head after it."""

    def __init__(self, width: int = 256, layers: int = 8, mels: int = 80) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width)
        self.projection = nn.Linear(width * strided_length(mels, 4), width)
        self.layers = torchaudio.models.Conformer(width, 4, 4 * width, layers, 31)
        self.head = nn.Linear(width, len(ALPHABET))

    def forward(self, features: Tensor) -> Tensor:
        """(T, M) -> logits (1, T', V)."""
        x = F.gelu(self.second(F.gelu(self.first(features[None, None]))))  # (1, D, T', M/4)
        x = self.projection(x.transpose(1, 2).flatten(2))  # (1, T', D)
        x, _ = self.layers(x, torch.tensor([x.shape[1]]))
        return self.head(x)


def conformer() -> System:
    model = Conformer().eval()
    return _compared("8 layers of 256 at 25 frames a second, 80 mels", model, LogMel(FeatureConfig()), model)


def _compared(
    made_of: str, model: nn.Module, features: Callable[[Tensor], Tensor] | None, logits: Callable[[Tensor], Tensor]
) -> System:
    def encode(x: Tensor) -> Tensor:
        return logits(x)[0].log_softmax(-1)

    def transcribe(path: Path) -> object:
        samples = torch.from_numpy(audio.load(path, RATE))
        log_probs = encode(features(samples) if features else samples)
        return greedy_decode(log_probs[None], torch.tensor([len(log_probs)]), ALPHABET)

    return System(made_of, sum(each.numel() for each in model.parameters()), features, encode, transcribe)


OTHERS = {"deepspeech2": deepspeech2, "wav2vec2_base": wav2vec2, "Conformer": conformer}


@torch.no_grad()
def measure(name: str | None, source: str, clips: list[str], threads: int, effort_s: float) -> list[dict[str, Any]]:
    """One system, in this process, on clips of growing length: medians in seconds, and the peak of memory so far in bytes.

    name: one of OTHERS, or None for the checkpoint at `source`.
    """
    torch.set_num_threads(threads)
    system = OTHERS[name]() if name else ours(checkpoint.load(source))
    system.transcribe(Path(clips[0]))  # the first call is slower than any other
    rows = []
    for clip in map(Path, clips):
        samples = torch.from_numpy(audio.load(clip, RATE))  # (S,)
        whole_s, _ = _median(effort_s, system.transcribe, clip)
        features_s, x = _median(effort_s, system.features, samples) if system.features else (None, samples)
        encoder_s, outputs = _median(effort_s, system.encode, x)
        tokens = outputs[None, :, : len(ALPHABET)]  # (1, T', V)
        greedy_s, _ = _median(effort_s, greedy_decode, tokens, torch.tensor([len(outputs)]), ALPHABET)
        beam_s, _ = _median(effort_s, system.beam, outputs) if system.beam else (None, None)
        rows.append(
            {
                "system": name or Path(source).name,
                "made_of": system.made_of,
                "parameters": system.parameters,
                "clip_s": (clip_s := len(samples) / RATE),
                "features_s": features_s,
                "encoder_s": encoder_s,
                "greedy_s": greedy_s,
                "beam_s": beam_s,
                "whole_s": whole_s,
                "real_time_factor": whole_s / clip_s,
                "peak_memory": peak_memory(),
            }
        )
    return rows


def _median(effort_s: float, function: Callable, *arguments: object) -> tuple[float, Any]:
    """Seconds, and what the function returns. Repeats it for that long, but LEAST to MOST times."""
    times: list[float] = []
    while len(times) < LEAST or (len(times) < MOST and sum(times) < effort_s):
        seconds, result = _timed(function, *arguments)
        times.append(seconds)
    return median(times), result


def _timed(function: Callable, *arguments: object) -> tuple[float, Any]:
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def peak_memory() -> int | None:
    """The most that this process ever held, in bytes. None where the system does not tell."""
    # getrusage would also count what the parent held when it started this process.
    if (status := Path("/proc/self/status")).exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return None


def write_clips(folder: Path, seconds: list[float]) -> list[Path]:
    """The bundled examples, joined, repeated and cut to each length: real speech as 16-bit WAV."""
    speech = np.concatenate([audio.load(path, RATE) for path in sorted(EXAMPLES.glob("*.mp3"))])
    paths = [folder / f"{length:g}s.wav" for length in seconds]
    for path, length in zip(paths, seconds, strict=True):
        wav = io.BytesIO()
        sf.write(wav, np.resize(speech, round(length * RATE)), RATE, format="WAV")
        write_atomically(path, wav.getvalue())  # libsndfile has no sentence for a full disk
    return paths


def benchmark(
    sources: list[str], threads: int, seconds: list[float], effort_s: float, starts: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """The whole run: clips of so many seconds, each measurement repeated for effort_s, processes started so many times.

    sources: checkpoints; the others' times are compared with the first one's. Raises BenchmarkError, CheckpointError.
    """
    folders = [shipped.folder_of(source) for source in sources]
    sources = [os.path.abspath(each) if os.path.isdir(each) else str(each) for each in folders]
    systems = [(None, source) for source in sources] + [(name, sources[0]) for name in OTHERS]
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        clips = [str(path) for path in write_clips(Path(folder), seconds)]
        for name, source in systems:
            report(name or source)
            rows += json.loads(_python(MEASURE, threads, json.dumps([name, source, clips, threads, effort_s])))
    own = {row["clip_s"]: row["whole_s"] for row in rows[: len(seconds)]}
    for row in rows:
        row["times_ours"] = row["whole_s"] / own[row["clip_s"]]
    report("from process start to first answer")
    example = str(min(EXAMPLES.glob("*.mp3")))
    imports_s = median(_timed(_python, IMPORTS, threads)[0] for _ in range(starts))
    answer_s = median(_timed(_python, FIRST_ANSWER, threads, sources[0], example)[0] for _ in range(starts))
    packages = {each: version(each) for each in ("torch", "torchaudio", "gradio")}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "versions": {"python": platform.python_version(), **packages},
        "rows": rows,
        "start": {"imports_s": imports_s, "first_answer_s": answer_s, "over_imports_s": answer_s - imports_s},
    }


def _python(code: str, threads: int, *arguments: str) -> str:
    """What a fresh process writes. In a session of its own, so that Ctrl-C reaches this process alone, which ends it."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        raise failure(done.returncode, done.stderr)
    return done.stdout


def failure(code: int, said: str) -> BenchmarkError:
    """Of a process, from its exit code and what it wrote to standard error."""
    reason = (said.strip().splitlines() or [f"exit code {code}"])[-1]
    return BenchmarkError(f"A process of the benchmark failed, perhaps for want of memory: {reason}")


def installed(package: str, needed_by: str) -> str:
    """The version of an optional package. Raises BenchmarkError where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise BenchmarkError(f"{needed_by} needs {package}, which is not installed: pip install {package}") from error


def processor() -> str:
    """Its name, as far as the system tells."""
    if (cpuinfo := Path("/proc/cpuinfo")).exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return found[1]
    return platform.processor() or platform.machine()
