"""Optimisers, and the learning rate as a pure function of the step: a resumed run needs to know only where it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

NAMES = ("adam", "adamw", "sgd")
SCHEDULES = ("step", "cosine", "constant")


def optimizer(
    groups: list[dict[str, Any]],
    *,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over a method's `param_groups()`.

    A group's `lr_factor` multiplies `lr`, its `weight_decay` stands in for the common one.
    """
    made = [
        {
            "params": group["params"],
            "name": group["name"],
            "lr": lr * group.get("lr_factor", 1.0),
            "base_lr": lr * group.get("lr_factor", 1.0),
            "weight_decay": group.get("weight_decay", weight_decay),
        }
        for group in groups
    ]
    if name == "adam":
        return torch.optim.Adam(made, lr=lr, eps=eps)
    if name == "adamw":
        return torch.optim.AdamW(made, lr=lr, eps=eps)
    if name == "sgd":
        return torch.optim.SGD(made, lr=lr, momentum=momentum)
    raise ValueError(f"SOLVER.OPTIMIZER: no {name}; there are {', '.join(NAMES)}")


def schedule(
    *,
    name: str,
    steps_per_epoch: int,
    num_steps: int,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    warmup_steps: int = 0,
    warmup_factor: float = 0.01,
) -> Callable[[int], float]:
    """The factor on every group's rate at a step (counted from 0).

    Linear warm-up from `warmup_factor` to 1; then `step` multiplies by `gamma` at each milestone (an epoch), `cosine`
    falls to 0 at `num_steps`, `constant` stays.
    """
    if name not in SCHEDULES:
        raise ValueError(f"SOLVER.SCHEDULE: no {name}; there are {', '.join(SCHEDULES)}")
    if warmup_steps >= num_steps > 0:
        raise ValueError(f"SOLVER.WARMUP_STEPS is {warmup_steps} and the whole run has {num_steps} steps; use fewer")

    def factor(step: int) -> float:
        warm = 1.0
        if step < warmup_steps:
            warm = warmup_factor + (1 - warmup_factor) * step / warmup_steps
        if name == "step":
            return warm * gamma ** sum(step >= epoch * steps_per_epoch for epoch in milestones)
        if name == "cosine":
            done = max(0, step - warmup_steps) / max(1, num_steps - warmup_steps)
            return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return warm

    return factor


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Sets every group's rate to its base rate times `factor`; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return optimizer.param_groups[0]["lr"]
