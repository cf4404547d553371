"""Whatever holds numbers, as a torch tensor that shares its memory: torch, numpy, DLPack, .numpy(), lists."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor


class EvidenceError(ValueError):
    """Inputs that are no CTC batch; the message says what was got and what was expected."""


def as_tensor(value: object, name: str) -> Tensor:
    """Detached, on its own device, nothing copied where the memory can be shared. Raises EvidenceError."""
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        try:
            return torch.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError):
            pass  # a layout or device that DLPack does not hand over: by way of numpy then
    try:
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nor is it written to
            if array.dtype.name == "bfloat16":
                return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(array)
    except (RuntimeError, TypeError, ValueError) as error:
        raise EvidenceError(f"{name} is a {type(value).__name__}, which cannot be read as an array of numbers.") from error


def as_counts(value: object, name: str) -> Tensor:
    """Whole numbers, int64 on the CPU. Raises EvidenceError for anything with a fraction."""
    tensor = as_tensor(value, name)
    if tensor.is_floating_point() and bool((tensor != tensor.floor()).any()):
        raise EvidenceError(f"{name} holds fractions; expected whole numbers. Lengths are counts of frames and of tokens.")
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise EvidenceError(f"{name} is {tensor.dtype}; expected whole numbers.")
    return tensor.to("cpu", torch.int64)
