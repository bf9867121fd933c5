"""The running average of a method's weights, which can be scored and exported in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from reid.methods import Method
from reid.models.norms import statistics


class Average:
    """average <- decay * average + (1 - decay) * weights after each batch, of every weight that learns and, alike, of
    BatchNorm's running means and variances. Integer counters and memories are not averaged.

    For the first steps the decay is smaller, (1 + step) / (10 + step), so that the random start is soon forgotten.
    It takes no part in training: not to be confused with MEMORY.MOMENTUM, whose slow encoder fills the memory that the losses
    compare with.
    Source:  Polyak and Juditsky 1992; exponential as in Tarvainen and Valpola 2017 (mean teacher), the start as in
             TensorFlow's ExponentialMovingAverage.

    Args:    method: on its device, before its first step.
             decay: 0 < decay < 1; 0.999 looks back about 1,000 steps.
    """

    def __init__(self, method: Method, decay: float):
        self.decay = decay
        running = {id(value) for value in statistics(method)}
        learned = {name: p.detach() for name, p in method.named_parameters() if p.requires_grad}
        learned |= {name: value for name, value in method.named_buffers() if id(value) in running}
        self.weights = {k: v for k, v in learned.items() if not k.startswith(method.only_training)}
        self.values = {name: value.clone() for name, value in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After the batch of `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self.weights.values()), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the method has the average as its weights."""
        kept = {name: value.clone() for name, value in self.weights.items()}
        _copy(self.weights, self.values)
        try:
            yield
        finally:
            _copy(self.weights, kept)

    def load(self, values: dict[str, Tensor]) -> None:
        """Goes on from the `values` of a checkpoint. Raises KeyError for one that is missing."""
        _copy(self.values, values)


@torch.no_grad()
def _copy(into: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in into.items():
        value.copy_(values[name])
