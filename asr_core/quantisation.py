"""Weights in 8 bits: each row of a matrix as whole numbers from -127 to 127 and one scale, about half a float16's size.

For files only: a loaded model computes in float32 as ever.
"""

from __future__ import annotations

import torch
from torch import Tensor

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


def expand(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The float32 tensors of a file, compressed or not. Raises ValueError for 8-bit weights without fitting scales."""
    result = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        if tensor.dtype == torch.int8:
            scale = tensors.get(name + SCALE)
            if scale is None or tensor.ndim < 2 or scale.shape != tensor.shape[:1]:
                raise ValueError(f"{name!r} is in 8 bits and has no scale for each of its {len(tensor)} rows")
            result[name] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
        else:
            result[name] = tensor.float()
    return result
