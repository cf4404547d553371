"""How the learning rate runs over a training, and the optimisers that it drives."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from asr_core.models import Encoder

BETA1 = (0.95, 0.85)  # AdamW's momentum, at the ends and at the peak
SMALLEST_MATRIX = 128  # rows and columns; smaller ones write letters or phones


def one_cycle(fraction: float, warmup: float) -> float:
    """Part of the peak at a fraction of the training: up from 1/25 to 1 during `warmup`, down to 0 at the end, straight
    (Smith and Topin 2018, arXiv 1708.07120, as torch's OneCycleLR has it)."""
    if fraction < warmup:
        return 0.04 + 0.96 * fraction / warmup
    return max(0.0, (1 - fraction) / (1 - warmup)) if warmup < 1 else 1.0


def set_rate(optimisers: list[torch.optim.Optimizer], max_lr: float, factor: float) -> None:
    """factor: of the peak, 0 to 1. The momentum runs the other way."""
    high, low = BETA1
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = max_lr * factor * group.get("rate", 1.0)  # a state from before there were rates has none
            if "betas" in group:
                group["betas"] = (high + (low - high) * factor, group["betas"][1])


def build_optimisers(
    name: str, encoder: Encoder, max_lr: float, weight_decay: float, head_rate: float = 1.0
) -> list[torch.optim.Optimizer]:
    """ "adamw", or "muon": Muon (Jordan et al. 2024) for the large matrices and AdamW for the rest, with one learning rate
    for both (the scaling of Liu et al. 2025, arXiv 2502.16982).

    head_rate: the rate of what the encoder does not count among its pretrained modules, as a multiple of the others'.
    """
    if name not in ("adamw", "muon"):
        raise ValueError(f"There is no optimiser {name!r}. There are: adamw, muon.")
    inner = {
        module.weight
        for module in encoder.modules()
        if name == "muon" and isinstance(module, nn.Linear) and min(module.weight.shape) >= SMALLEST_MATRIX
    }
    rest = [parameter for parameter in encoder.parameters() if parameter not in inner]
    pretrained = {each for module in encoder.pretrained for each in getattr(encoder, module).parameters()}

    def groups(parameters: Iterable[nn.Parameter]) -> list[dict]:
        parts = {1.0: [], head_rate: []}
        for parameter in parameters:
            parts[1.0 if parameter in pretrained else head_rate].append(parameter)
        return [{"params": part, "rate": rate} for rate, part in parts.items() if part]

    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups(rest), lr=max_lr, weight_decay=weight_decay, fused=True)
    ]
    if inner:
        matrices = [parameter for parameter in encoder.parameters() if parameter in inner]  # in their own order
        optimisers.append(
            torch.optim.Muon(groups(matrices), lr=max_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimisers
