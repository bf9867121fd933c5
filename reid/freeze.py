"""Weights that stay as they are for the first steps of a run, such as a pretrained backbone under a new classifier."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from torch import nn

from reid.methods import Method
from reid.models.norms import BATCH_NORM, OfDomains


class Freeze:
    """Parameters whose names match a pattern are held until their step.

    A held parameter has no gradient: neither decay nor momentum moves it, and what lies below held ones alone costs no
    backward. A BatchNorm whose parameters are all held normalises by its running statistics, which stay too, as in
    evaluation.

    Args:    entries: (pattern, number of steps); `*` in a pattern stands for anything, dots too. Where several match a
             parameter, the largest number counts.
    Raises ValueError for a pattern that matches no parameter that learns, and for less than a step.
    """

    def __init__(self, method: Method, entries: Sequence[tuple[str, int]]):
        names = {name: p for name, p in method.named_parameters() if p.requires_grad}
        self.method = method
        self.until: dict[nn.Parameter, int] = {}
        for pattern, steps in entries:
            found = [p for name, p in names.items() if fnmatch.fnmatchcase(name, pattern)]
            if not found or steps < 1:
                raise ValueError(
                    f"SOLVER.FREEZE: found the pattern {pattern!r} for {steps} steps, which matches {len(found)} parameters; "
                    f"expected some, for 1 step or more; they are called {', '.join([*names][:2])}, ..., {[*names][-1]}"
                )
            self.until |= {p: max(steps, self.until.get(p, 0)) for p in found}
        self.norms: dict[nn.Module, int] = {}
        for layer in method.modules():
            own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
            if isinstance(layer, (BATCH_NORM, OfDomains)) and own:
                self.norms[layer] = min(self.until.get(p, 0) for p in own)

    def holds(self, parameter: nn.Parameter, step: int) -> bool:
        """Whether a parameter is held at a step, counted from 0."""
        return step < self.until.get(parameter, 0)

    def __call__(self, step: int) -> None:
        """Before the forward of `step`, with the method in training mode."""
        for parameter in self.until:
            parameter.requires_grad_(not self.holds(parameter, step))
        if step in self.norms.values():
            self.method.train()
        for layer, until in self.norms.items():
            if step < until:
                layer.eval()
