"""The model run again on the caller's batch, on one utterance of it, or on that utterance without its padding.

In eval mode, without gradients; the mode of every module and the state of the random numbers are as before afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Inputs:
    """What a model is called with. The axis of the utterances is each tensor's first axis of size `utterances`."""

    args: tuple
    kwargs: Mapping[str, object]
    utterances: int
    durations: Tensor | None = None

    @classmethod
    def of(cls, batch: object, utterances: int, durations: Tensor | None) -> Inputs:
        """batch: a tensor, a tuple or list of arguments, or a dictionary of keyword arguments."""
        if isinstance(batch, Mapping):
            return cls((), dict(batch), utterances, durations)
        return cls(tuple(batch) if isinstance(batch, tuple | list) else (batch,), {}, utterances, durations)

    @property
    def tensors(self) -> list[Tensor]:
        return [value for value in (*self.args, *self.kwargs.values()) if isinstance(value, Tensor)]

    def axis(self, tensor: Tensor) -> int | None:
        """The axis of the utterances, or None."""
        return next((axis for axis, size in enumerate(tensor.shape) if size == self.utterances), None)

    @cached_property
    def features(self) -> Tensor | None:
        """The largest real tensor with an axis for the utterances."""
        candidates = [t for t in self.tensors if t.is_floating_point() and t.ndim > 1 and self.axis(t) is not None]
        return max(candidates, key=Tensor.numel, default=None)

    @cached_property
    def lengths(self) -> Tensor | None:
        """(B,) whole numbers whose greatest is the size of an axis of the features: how far each utterance goes along it."""
        candidates = [t for t in self.tensors if t.ndim == 1 and not t.is_floating_point() and len(t) == self.utterances]
        if self.durations is not None and bool((self.durations == self.durations.floor()).all()):
            candidates.append(self.durations)
        return next((t.long().cpu() for t in candidates if self._time_axis(int(t.max())) is not None), None)

    def _time_axis(self, longest: int) -> int | None:
        if self.features is None:
            return None
        batch = self.axis(self.features)
        return next((axis for axis, size in enumerate(self.features.shape) if size == longest and axis != batch), None)

    def alone(self, utterance: int, trimmed: bool = False) -> Inputs:
        """That utterance only, with the batch's padding or without."""

        def cut(tensor: Tensor) -> Tensor:
            axis = self.axis(tensor)
            if axis is None:
                return tensor
            if trimmed and tensor is self.features:
                tensor = tensor.narrow(self._time_axis(int(self.lengths.max())), 0, int(self.lengths[utterance]))
            return tensor.narrow(axis, utterance, 1)

        return self._changed(cut)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        def each(value: object) -> object:
            return change(value) if isinstance(value, Tensor) else value

        kwargs = {name: each(value) for name, value in self.kwargs.items()}
        return Inputs(tuple(map(each, self.args)), kwargs, self.utterances)

    def run(self, model: nn.Module, vocabulary: int, utterances: int) -> Tensor:
        """-> (T', B, V), whatever the model's layout and whatever it wraps its output in. Raises ValueError without one."""
        with at_rest(model):
            given = model(*self.args, **self.kwargs)
        output = _scores(given)
        if output is None or vocabulary not in output.shape or utterances not in output.shape:
            raise ValueError(f"the model returned no tensor of {utterances} utterances and {vocabulary} tokens")
        tokens = max(axis for axis in range(3) if output.shape[axis] == vocabulary)
        batch = next((axis for axis in range(3) if axis != tokens and output.shape[axis] == utterances), None)
        if batch is None:
            raise ValueError(f"the model returned no axis of {utterances} utterances")
        return output.permute(3 - tokens - batch, batch, tokens).float()


def _scores(output: object) -> Tensor | None:
    """The first real tensor with three axes."""
    if isinstance(output, Tensor):
        return output if output.ndim == 3 and output.is_floating_point() else None
    if hasattr(output, "logits"):
        return _scores(output.logits)
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return next((found for part in parts if (found := _scores(part)) is not None), None)


@contextlib.contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(enabled=True):
            model.eval()
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextlib.contextmanager
def louder(model: nn.Module, vocabulary: int, factor: float) -> Iterator[bool]:
    """The output of the last layer that makes `vocabulary` numbers, multiplied; False where there is no such layer."""
    makers = [m for m in model.modules() if vocabulary in (getattr(m, "out_features", 0), getattr(m, "out_channels", 0))]
    if not makers:
        yield False
        return
    handle = makers[-1].register_forward_hook(lambda module, inputs, output: output * factor)
    try:
        yield True
    finally:
        handle.remove()
