"""What autograd remembers of how a tensor was made: the last operations, the views, and where its gradient would arrive."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

MOVES = {  # operations that rearrange, cut or cast values and leave them what they are
    "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Clone", "ToCopy", "Squeeze", "Unsqueeze", "Slice",
    "Select", "T", "Alias", "Expand", "Swapaxes", "Movedim",
}  # fmt: skip
VIEWS = {"View", "UnsafeView", "ReshapeAlias"}


@dataclass(frozen=True)
class History:
    """operations: the names of those that made the values, last first, without the ones that only move them.
    views: shapes (before, after) of every view and reshape. leaves: id() of each tensor that the gradient reaches.
    opaque: part of the way is somebody's own autograd function or a compiled graph, which cannot be looked into.
    """

    operations: tuple[str, ...]
    views: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    leaves: frozenset[int]
    opaque: bool


def history_of(tensor: Tensor) -> History | None:
    """None for a tensor without a gradient: nothing was remembered."""
    if not tensor.requires_grad:
        return None
    if tensor.grad_fn is None:
        return History((), (), frozenset({id(tensor)}), False)
    views, leaves, opaque = [], set(), False
    seen, todo = {tensor.grad_fn}, [tensor.grad_fn]
    while todo:
        node = todo.pop()
        full = node.name()
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        elif not full[-1].isdigit():  # torch numbers its own: AddmmBackward0. What people write is MyFunctionBackward.
            opaque = True
        elif _name(full) in VIEWS and hasattr(node, "_saved_self_sym_sizes"):
            views.append((tuple(node._saved_self_sym_sizes), tuple(node._input_metadata[0].shape)))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return History(_operations(tensor.grad_fn), tuple(views), frozenset(leaves), opaque)


def _operations(node: object, most: int = 3) -> tuple[str, ...]:
    names: list[str] = []
    while node is not None and len(names) < most:
        name = _name(node.name())
        if name not in MOVES:
            names.append(name)
        node = node.next_functions[0][0] if node.next_functions else None
    return tuple(names)


def _name(full: str) -> str:
    return full.rstrip("0123456789").removesuffix("Backward")
