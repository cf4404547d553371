"""FILE.npz or FILE.safetensors -> what diagnose takes. Nothing is unpickled, nothing larger than a batch is read."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from safetensors.torch import load as load_tensors

from asr_core.doctor.tensors import EvidenceError, as_tensor
from asr_core.files import readable

LARGEST_BYTES = 256 * 1024**2  # of all arrays together: a batch of 20 utterances of 15 s is 1 MB
REQUIRED = ("log_probs", "targets", "input_lengths", "target_lengths")
OPTIONAL = ("blank", "loss", "durations", "step", "zero_infinity", "sample_rate", "expected_sample_rate")
SINGLE = {"blank": int, "step": int, "zero_infinity": bool, "sample_rate": float, "expected_sample_rate": float}


def read(path: str | Path) -> dict[str, object]:
    """The arguments of diagnose. Raises EvidenceError with a sentence for any file that does not hold them."""
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise EvidenceError(f"{path.name} is neither .npz (numpy.savez) nor .safetensors. Save the batch as one of them.")
    try:
        readable(path, LARGEST_BYTES)
        if (size := _unpacked_bytes(path)) > LARGEST_BYTES:
            raise EvidenceError(
                f"{path.name} holds {size // 1024**2:,} MB; {LARGEST_BYTES // 1024**2} MB are the most. Save one batch only."
            )
        arrays, names = _arrays(path)
    except EvidenceError:
        raise
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or 'it is no file'}.") from error
    except Exception as error:  # a damaged file brings anything out of zipfile, numpy and Python's own tokenizer
        raise EvidenceError(
            f"{path.name} is damaged, or holds Python objects, which are never unpickled. Save plain arrays."
        ) from error
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise EvidenceError(
            f"{path.name} lacks {', '.join(missing)}; it holds {_listed(names)}. Expected "
            "log_probs (T, B, V), targets (B, L) or in one row, input_lengths (B,), target_lengths (B,) and blank."
        )
    return {name: _single(name, arrays[name]) for name in (*REQUIRED, *OPTIONAL) if name in arrays}


def _unpacked_bytes(path: Path) -> int:
    if path.suffix == ".safetensors":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _arrays(path: Path) -> tuple[dict[str, object], list[str]]:
    """What diagnose takes of the file, and the names of all that it holds."""
    if path.suffix == ".safetensors":
        tensors = load_tensors(path.read_bytes())
        return tensors, list(tensors)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in REQUIRED + OPTIONAL}, archive.files


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:60] for name in sorted(names)[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "nothing"


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
