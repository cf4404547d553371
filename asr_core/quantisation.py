"""Weights in 8 bits: each row of a matrix as whole numbers from -127 to 127 and one scale, about half a float16's size.

For files only: a loaded model computes in float32 as ever.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOATS, EIGHT_BITS = ("F16", "BF16", "F32"), "I8"
SCALE = ".scale"  # ends the name of a tensor that holds the scales of another


def compress(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and filters (R, ...) become int8 with NAME.scale (R,) float16; vectors, which are small, become float16."""
    result = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            result[name] = tensor.to(torch.float16)
            continue
        largest = tensor.float().flatten(1).abs().amax(1)  # (R,)
        scale = (largest / 127).clamp(min=1e-7).to(torch.float16)  # 0 would be no number to divide by
        whole = (tensor.float() / scale.float().view(-1, *[1] * (tensor.ndim - 1))).round().clamp(-127, 127)
        result[name], result[name + SCALE] = whole.to(torch.int8), scale
    return result


def scales(types: dict[str, str]) -> set[str]:
    """The names that the scales of the 8-bit tensors have. types: of each tensor, as safetensors calls them."""
    return {name + SCALE for name, found in types.items() if found == EIGHT_BITS}


def check(types: dict[str, str]) -> None:
    """Raises ValueError unless all are floats, but for 8-bit weights that have scales."""
    for name, found in types.items():
        if found == EIGHT_BITS and name + SCALE not in types:
            raise ValueError(f"{name[:60]!r} is in 8 bits and has no scale for each of its rows")
        if found not in FLOATS and (found != EIGHT_BITS or name in scales(types)):
            raise ValueError(f"{name[:60]!r} is {found}; weights are {', '.join(FLOATS)}, or {EIGHT_BITS} with their scales")


def expand(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checked file, compressed or not -> float32, copied. Raises ValueError for scales that do not fit."""
    result = {}
    factors = {name + SCALE for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8:
            scale = tensors[name + SCALE]
            if tensor.ndim < 2 or scale.shape != tensor.shape[:1]:
                raise ValueError(f"{name!r} is in 8 bits and has no scale for each of its {len(tensor)} rows")
            result[name] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
        elif name not in factors:
            result[name] = tensor.to(torch.float32, copy=True)
    return result
