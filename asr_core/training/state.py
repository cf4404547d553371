"""Everything a run needs to go on, in one safetensors file: tensors, and numbers as JSON in its header."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from asr_core.files import write_atomically


class StateError(ValueError):
    """A saved run that cannot be continued; the message says why and what to do."""


def save_state(path: Path, modules: dict[str, nn.Module], optimisers: list[torch.optim.Optimizer], numbers: dict) -> None:
    """modules: by name. numbers: anything JSON can hold. The optimisers' tensors and torch's random state go along."""
    tensors: dict[str, Tensor] = {"random_state": torch.get_rng_state()}
    for module_name, module in modules.items():
        tensors |= {f"{module_name}.{name}": tensor.contiguous() for name, tensor in module.state_dict().items()}
    states = [optimiser.state_dict() for optimiser in optimisers]
    for number, state in enumerate(states):
        for index, slots in state["state"].items():
            tensors |= {f"optimiser{number}.{index}.{slot}": value.contiguous() for slot, value in slots.items()}
    header = {"numbers": numbers, "param_groups": [state["param_groups"] for state in states]}
    write_atomically(path, save(tensors, metadata={"state": json.dumps(header)}))


def load_state(path: Path, modules: dict[str, nn.Module], optimisers: list[torch.optim.Optimizer]) -> dict:
    """Put everything back as it was and return `numbers`. Raises StateError."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            numbers, param_groups, random_state = header["numbers"], header["param_groups"], tensors["random_state"]
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise StateError(f"{path} is not the state of a training run, or is damaged. Delete it to start anew.") from error
    try:
        for module_name, module in modules.items():
            module.load_state_dict(_below(module_name, tensors))
        for number, (optimiser, groups) in enumerate(zip(optimisers, param_groups, strict=True)):
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _below(f"optimiser{number}", tensors).items():
                index, slot = name.split(".", 1)
                slots.setdefault(int(index), {})[slot] = tensor
            optimiser.load_state_dict({"state": slots, "param_groups": groups})
        torch.set_rng_state(random_state)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise StateError(f"{path} belongs to another model. Choose another --out, or delete it to start anew.") from error
    return numbers


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
