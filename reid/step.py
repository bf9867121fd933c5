"""A step of the optimiser, the same for every phase: scale, go back, average, unscale, clip, move."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from reid import processes
from reid.data.loader import Batch
from reid.methods import Method, Phase, inner_grad


def phases(method: Method, batch: Batch, precision: torch.dtype | None) -> Iterator[Phase]:
    """The method's phases of a batch, its own code under autocast, what is done between them not."""
    made = method.phases(batch)
    while True:
        with torch.autocast(batch.images.device.type, dtype=precision, enabled=precision is not None):
            phase = next(made, None)
        if phase is None:
            return
        yield phase


@dataclass
class Taken:
    """What the phases of one batch have come to so far."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    keep: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor | float = 0.0  # of all losses
    norms: list[Tensor] = field(default_factory=list)  # of each phase's gradient
    skipped: bool = False

    def add(self, phase: Phase) -> Tensor:
        """Takes up a phase; returns the sum of its losses. Raises ValueError where there is none, or of an earlier name."""
        if not phase.losses:
            raise ValueError("phases: found a phase without losses; expected one or more")
        for mine, more in ((self.losses, phase.losses), (self.keep, phase.keep), (self.counts, phase.counts)):
            if twice := sorted(mine.keys() & more.keys()):
                raise ValueError(f"phases: found {', '.join(twice)} in two phases of a batch; expected a name for each")
            mine.update(more)
        total = torch.stack(list(phase.losses.values())).sum()
        self.total = self.total + total.detach()
        return total

    @classmethod
    def mean(cls, parts: Sequence[Taken]) -> Taken:
        """What the parts of one batch come to, each of a single phase: means of losses, all rows to keep, sums of counts."""
        losses, keep, counts = (
            {name: [getattr(part, what)[name] for part in parts] for name in getattr(parts[0], what)}
            for what in ("losses", "keep", "counts")
        )
        return cls(
            {name: torch.stack(values).mean() for name, values in losses.items()},
            {name: torch.cat(values) for name, values in keep.items()},
            {name: torch.stack(values).sum(dim=0) for name, values in counts.items()},
            torch.stack([torch.as_tensor(part.total) for part in parts]).mean(),
        )


class LossScale:
    """fp16's factor on losses, so that small gradients do not vanish: an overflow halves it, 2,000 steps without double it.

    As torch's GradScaler, but its steps may be phases, and gradients within a phase and other processes may overflow too.
    Of any other precision it is 1 and stays.
    """

    START, PATIENCE = 2.0**16, 2000

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self.value = self.START if enabled else 1.0
        self.steps = 0  # taken since it last changed
        self.inner: list[Tensor] = []  # of each inner gradient of this phase, whether it is finite

    def inner_grad(self, loss: Tensor, inputs: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
        """`reid.methods.inner_grad` with the loss scaled and the gradients scaled back."""
        if not self.enabled:
            return inner_grad(loss, inputs, create_graph)
        scaled = inner_grad(loss * self.value, inputs, create_graph)
        self.inner += [gradient.isfinite().all() for gradient in scaled]
        return tuple(gradient / self.value for gradient in scaled)

    @property
    def overflowed(self) -> bool:
        """Whether a gradient within this phase did: then its losses mean nothing, and its step is skipped."""
        return bool(self.inner) and not torch.stack(self.inner).all()

    def update(self, finite: bool) -> None:
        """After each phase."""
        self.inner.clear()
        if self.enabled:
            self.steps = self.steps + 1 if finite else 0
            if not finite:
                self.value /= 2
            elif self.steps == self.PATIENCE:
                self.value, self.steps = 2 * self.value, 0

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.steps = state["value"], state["steps"]


class Step:
    """What the trainer does with a phase's loss: `step(loss, learns)`, or `gather` for each part of it and `step` for the last."""

    def __init__(self, method: Method, optimizer: torch.optim.Optimizer, *, clip_grad: float = 0.0, fp16: bool = False):
        self.optimizer, self.clip_grad, self.scale = optimizer, clip_grad, LossScale(fp16)
        self.groups: dict[str, list[dict[str, Any]]] = {}  # by name; of a name several where rates fall with depth
        for group in optimizer.param_groups:
            self.groups.setdefault(group["name"], []).append(group)
        self.may_learn: Sequence[str] | None = None  # the groups of this stage; None: all
        self.gathered = False  # whether there are gradients of earlier parts
        method.inner_grad, method.rate = self.scale.inner_grad, self.rate

    def __call__(self, loss: Tensor, learns: Sequence[str] | None = None) -> Tensor:
        """Moves those of the groups `learns` (None: all) that may learn; gradients of all others are None afterwards.

        Returns the norm of the gradient before clipping, over all processes. Where it is not finite nothing was moved.
        """
        groups, parameters = self.gather(loss, learns)
        self.gathered = False
        processes.average_gradients([p for group in groups if not group.get("local") for p in group["params"]])
        if self.scale.enabled:
            _multiply(parameters, 1 / self.scale.value)
        norm = clip(groups, self.clip_grad)
        finite = bool(norm.isfinite())
        if finite:
            self.optimizer.step()
        self.scale.update(finite)
        return norm

    def rate(self, group: str) -> float:
        """`Method.rate`."""
        return float(self.groups[group][0]["lr"])

    def gather(self, loss: Tensor, learns: Sequence[str] | None = None) -> tuple[list[dict[str, Any]], list[Tensor]]:
        """Adds the gradient of a part's loss to those of the parts before it; returns the groups that learn, and what of them
        has a gradient. Nothing is moved."""
        groups = self._learning(learns)
        some = len(groups) < len(self.optimizer.param_groups)
        parameters = [p for group in groups for p in group["params"] if p.requires_grad]
        if not parameters:
            raise ValueError(
                f"phases: found a phase that learns {', '.join(dict.fromkeys(group['name'] for group in groups))}, all of which SOLVER.FREEZE "
                "holds; expected some that may move: freeze fewer, or for fewer steps"
            )
        if not self.gathered:
            self.optimizer.zero_grad(set_to_none=True)
        self.gathered = True
        if self.scale.overflowed:
            loss = loss * math.nan  # so that the gradient tells every process
        (loss * self.scale.value).backward(inputs=parameters if some else None)
        return groups, parameters

    def _learning(self, learns: Sequence[str] | None) -> list[dict[str, Any]]:
        """The groups that a phase learns, of those that may."""
        if unknown := [name for name in learns or () if name not in self.groups]:
            raise ValueError(f"phases: no parameter group {', '.join(unknown)}; there are {', '.join(self.groups)}")
        may = list(self.groups) if self.may_learn is None else self.may_learn
        chosen = [name for name in self.groups if name in may and (learns is None or name in learns)]
        found = [group for name in chosen for group in self.groups[name]]
        if not found:
            raise ValueError(
                f"phases: found a phase that learns {', '.join(learns or ())}; this stage allows {', '.join(may)}"
            )
        return found


def clip(groups: Sequence[dict[str, Any]], largest: float) -> Tensor:
    """Scales gradients down: those of a group with a `clip` of its own to that norm, all others together to `largest`.

    0 leaves them as they are. Returns the norm of all before. A `local` group is spread over the processes: its norm is
    that of all their parts.
    """
    own: dict[Any, list[dict[str, Any]]] = {}
    for group in groups:
        if "clip" in group:
            own.setdefault(group.get("name", id(group)), []).append(group)
    parts = [(part, part[0]["clip"]) for part in own.values()]
    parts.append(([group for group in groups if "clip" not in group], largest))
    norms = [_clip_together(part, limit or math.inf) for part, limit in parts if part]
    return norms[0] if len(norms) == 1 else torch.stack([norm.to(norms[0].device) for norm in norms]).norm()


def _clip_together(groups: Sequence[dict[str, Any]], limit: float) -> Tensor:
    shared, local = ([p for g in groups if bool(g.get("local")) == kind for p in g["params"]] for kind in (False, True))
    if not local:
        return nn.utils.clip_grad_norm_(shared, limit)
    of_shared, of_local = (nn.utils.clip_grad_norm_(part, math.inf).square() for part in (shared, local))
    norm = (of_shared + processes.add_up({"local": of_local.to(local[0].device)})["local"]).sqrt()
    _multiply([*shared, *local], (limit / (norm + 1e-6)).clamp(max=1))  # as torch clips
    return norm


def _multiply(parameters: Sequence[Tensor], factor: Tensor | float) -> None:
    if gradients := [p.grad for p in parameters if p.grad is not None]:
        torch._foreach_mul_(gradients, factor)
