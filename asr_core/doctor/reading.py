"""FILE.npz or FILE.safetensors -> what diagnose takes. Nothing is unpickled, nothing larger than a batch is read."""

from __future__ import annotations

import math
from pathlib import Path

from asr_core import arrays
from asr_core.doctor.tensors import EvidenceError, as_tensor

LARGEST_BYTES = 256 * 1024**2  # of all arrays together: a batch of 20 utterances of 15 s is 1 MB
REQUIRED = ("log_probs", "targets", "input_lengths", "target_lengths")
OPTIONAL = ("blank", "loss", "durations", "step", "zero_infinity", "sample_rate", "expected_sample_rate")
SINGLE = {"blank": int, "step": int, "zero_infinity": bool, "sample_rate": float, "expected_sample_rate": float}


def read(path: str | Path) -> dict[str, object]:
    """The arguments of diagnose. Raises EvidenceError with a sentence for any file that does not hold them."""
    path = Path(path)
    try:
        found, names = arrays.read(path, REQUIRED + OPTIONAL, LARGEST_BYTES, "Save one batch only.")
    except arrays.ArraysError as error:
        raise EvidenceError(str(error)) from error
    if missing := [name for name in REQUIRED if name not in found]:
        raise EvidenceError(
            f"{path.name} lacks {', '.join(missing)}; it holds {arrays.listed(names)}. Expected "
            "log_probs (T, B, V), targets (B, L) or in one row, input_lengths (B,), target_lengths (B,) and blank."
        )
    return {name: _single(name, found[name]) for name in (*REQUIRED, *OPTIONAL) if name in found}


def _single(name: str, array: object) -> object:
    if name not in SINGLE:
        return array
    values = as_tensor(array, name).reshape(-1)
    number = values[0].item() if len(values) == 1 else math.nan
    if isinstance(number, complex) or not math.isfinite(number) or (SINGLE[name] is int and number != int(number)):
        raise EvidenceError(
            f"{name} has shape {tuple(as_tensor(array, name).shape)}; expected one "
            f"number{' without a fraction' * (SINGLE[name] is int)}."
        )
    return SINGLE[name](number)
