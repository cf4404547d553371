"""Training in several processes: torchrun starts them, each works on its part of every batch, and their sums are added up.

In one process, without torchrun, every function here gives back what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Item = TypeVar("Item")


class ProcessLost(RuntimeError):
    """Another process of this training has died or cannot be reached any more."""


def start() -> torch.device:
    """Join the processes that torchrun started, if it did. Returns the device of this one."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """The first process alone writes files and shows progress."""
    return rank() == 0


def part(items: Sequence[Item]) -> list[Item]:
    """This process's share: no item is in two, none is left out."""
    return list(items[rank() :: count()])


def _together(function: Callable) -> Callable:
    """Says in a sentence that a process has gone; what torch raises then names sockets."""

    @wraps(function)
    def checked(*args: object) -> object:
        try:
            return function(*args)
        except RuntimeError as error:
            raise ProcessLost(
                "Another process of this training has died. The state on disk is whole: the same command goes on from it, "
                "with as many processes as you like."
            ) from error

    return checked


@_together
def add_up(values: Sequence[float], device: torch.device) -> list[float]:
    """Each value, summed over the processes."""
    if count() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


@_together
def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every gradient, summed over the processes; none counts as zero."""
    if count() == 1:
        return
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])  # one message in place of hundreds
    dist.all_reduce(flat)
    for parameter, gradient in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad.copy_(gradient.view_as(parameter))


@_together
def gather(item: Item) -> list[Item]:
    """What each process brings, in the order of the processes, in all of them."""
    if count() == 1:
        return [item]
    items: list = [None] * count()
    dist.all_gather_object(items, item)
    return items


@_together
def share_first(tensors: Iterable[Tensor]) -> None:
    """Make every tensor that of the first process."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
