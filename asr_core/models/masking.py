"""Which frames of a padded batch are real. Every encoder masks with this, so padding never changes a result."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """lengths (B,), number of padded frames T -> (B, T) bool, True where a frame is real."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]


def strided_length(length: Tensor | int, stride: int = 2) -> Tensor | int:
    """Frames that a kernel-3, padding-1 convolution makes of `length` frames: (T - 1) // stride + 1, never T // stride."""
    return (length - 1) // stride + 1
