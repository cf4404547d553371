"""The encoder of a checkpoint as an ONNX file, for programs without torch: feature frames in, log-probabilities out.

The mel stays outside the graph: config.json has its settings, and features.LogMel is what it has to be. The file's metadata
holds what is needed to read its output: labels (a JSON list), blank, frame_duration_s and features (JSON).
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr_core.checkpoint import Checkpoint
from asr_core.files import write_atomically

OPSET = 18
LENGTHS = sorted({1, 2, 3, 5, 7, 8, 9, *np.geomspace(11, 1_600, 43).round().astype(int).tolist()})  # frames: 50 of them
TOLERANCE = 1e-3  # of a log-probability, over all lengths
TIMED = 1_000  # frames: 10 s
NEEDED = "export-onnx needs onnx, onnxscript and onnxruntime: pip install onnx onnxscript onnxruntime"


class OnnxError(ValueError):
    """An encoder that could not be exported, or whose file says something else than it does; the message says which."""


@dataclass(frozen=True)
class Exported:
    """size: bytes. worst: the greatest difference of a log-probability from torch's, over LENGTHS. torch_s, onnx_s: seconds
    for TIMED frames, the better of three each, in turn on one thread."""

    size: int
    worst: float
    torch_s: float
    onnx_s: float


class _Graph(nn.Module):
    def __init__(self, model: Checkpoint) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, features: Tensor) -> Tensor:
        """(1, T, M) -> (1, T', V)."""
        lengths = torch.ones(1, dtype=torch.long) * features.shape[1]
        return self.encoder(features.transpose(1, 2)[:, None], lengths).logits.log_softmax(-1)


@torch.no_grad()
def export(model: Checkpoint, path: Path) -> Exported:
    """Write input `features` (1, T, M) float32 of any T -> output `log_probs` (1, T', V). It is compared with torch before
    it is written. Raises OnnxError."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch wants it later, and would not say so in a sentence
    except ImportError as error:
        raise OnnxError(NEEDED) from error
    graph = _Graph(model).eval()
    content = _made(graph, model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    worst = max(_difference(graph, session, frames, model.features.n_mels, random) for frames in LENGTHS)
    if not worst < TOLERANCE:
        raise OnnxError(
            f"The exported graph differs from torch by up to {worst:.2g} in a log-probability. It was not written."
        )
    torch_s, onnx_s = _timed(graph, session, torch.randn(1, TIMED, model.features.n_mels, generator=random))
    write_atomically(path, content)
    return Exported(len(content), worst, torch_s, onnx_s)


def _made(graph: nn.Module, model: Checkpoint) -> bytes:
    example = torch.randn(1, 203, model.features.n_mels)  # an odd length, so that no parity is taken for granted
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes={"features": {1: torch.export.Dim.DYNAMIC}},
                input_names=["features"],
                output_names=["log_probs"],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        name = type(model.encoder).__name__
        raise OnnxError(f"The encoder {name} cannot be exported: torch.onnx does not know all that it does.") from error
    finally:
        chatter.setLevel(level)
    program.model.metadata_props.update(
        labels=json.dumps(model.alphabet.labels),
        blank=str(model.alphabet.blank),
        frame_duration_s=str(model.frame_s),
        features=json.dumps(asdict(model.features)),
    )
    return program.model_proto.SerializeToString()


def _difference(graph: nn.Module, session: Any, frames: int, mels: int, random: torch.Generator) -> float:
    """The greatest of a log-probability; infinite where not even the frames are as many."""
    features = torch.randn(1, frames, mels, generator=random)
    expected = graph(features).numpy()  # (1, T', V)
    (got,) = session.run(None, {"features": features.numpy()})
    return float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")


def _timed(graph: nn.Module, session: Any, features: Tensor) -> tuple[float, float]:
    seconds: dict[str, list[float]] = {"torch": [], "onnx": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(3):
            for name, run in (("torch", graph), ("onnx", lambda x: session.run(None, {"features": x.numpy()}))):
                started = time.perf_counter()
                run(features)
                seconds[name].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(seconds["torch"]), min(seconds["onnx"])
