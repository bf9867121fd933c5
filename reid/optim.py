"""Optimisers, and the learning rate as a pure function of the step: a resumed run needs to know only where it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

NAMES = ("adam", "amsgrad", "adamw", "sgd")
SCHEDULES = ("step", "cosine", "constant")
GROUP = ("name", "params", "lr_factor", "weight_decay", "momentum", "schedule", "clip", "local")


def optimizer(
    groups: list[dict[str, Any]],
    *,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    eps: float = 1e-8,
    factors: Mapping[nn.Parameter, float] | None = None,
) -> torch.optim.Optimizer:
    """Adam, AMSGrad (Adam with the largest second moment so far), AdamW or SGD over a method's `param_groups()`.

    Besides `name` and `params` a group may say: `lr_factor`, which multiplies `lr`; `weight_decay` and, of sgd,
    `momentum` in place of the common ones; `schedule`, a function from the step to the factor on its rate, in place of the
    run's; `clip`, the largest norm of its own gradient, 0 for none, apart from all others; `local`, True where each process
    has a part of its own: it is neither made equal nor averaged.
    factors: of some parameters, on their rates. A group with several becomes as many of the optimiser's, all of its name.
    Raises ValueError for a name given twice, an unknown word, or a momentum where the optimiser has none.
    """
    names = [group["name"] for group in groups]
    made = []
    for group in groups:
        where = f"parameter group {group['name']}"
        if names.count(group["name"]) > 1:
            raise ValueError(f"{where}: found the name twice; expected one for each group")
        if unknown := sorted(group.keys() - GROUP):
            raise ValueError(f"{where}: found {', '.join(unknown)}; expected some of {', '.join(GROUP)}")
        if "momentum" in group and name != "sgd":
            raise ValueError(f"{where}: found a momentum, which OPTIMIZER {name} has not; use sgd")
        rate = lr * group.get("lr_factor", 1.0)
        said = {key: value for key, value in group.items() if key not in ("lr_factor", "schedule")}
        for factor, params in _by_factor(group["params"], factors or {}).items():
            own = {"lr": rate * factor, "base_lr": rate * factor, "weight_decay": weight_decay}
            made.append({**own, **said, "params": params})
    if name in ("adam", "amsgrad"):
        return torch.optim.Adam(made, lr=lr, eps=eps, amsgrad=name == "amsgrad")
    if name == "adamw":
        return torch.optim.AdamW(made, lr=lr, eps=eps)
    if name == "sgd":
        return torch.optim.SGD(made, lr=lr, momentum=momentum)
    raise ValueError(f"SOLVER.OPTIMIZER: no {name}; there are {', '.join(NAMES)}")


def _by_factor(
    params: Sequence[nn.Parameter], factors: Mapping[nn.Parameter, float]
) -> dict[float, list[nn.Parameter]]:
    """The parameters of each factor, from the largest down: the first group's rate is the one that is logged."""
    found: dict[float, list[nn.Parameter]] = {} if params else {1.0: []}
    for parameter in params:
        found.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    return dict(sorted(found.items(), reverse=True))


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
        raise ValueError(f"SOLVER.WARMUP_STEPS is {warmup_steps} of {num_steps} steps; use fewer")

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


def set_lr(optimizer: torch.optim.Optimizer, factor: float, own: Mapping[str, float] | None = None) -> float:
    """Sets every group's rate to its base rate times `factor`, or times its `own` by name; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (own or {}).get(group["name"], factor)
    return optimizer.param_groups[0]["lr"]
