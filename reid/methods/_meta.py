"""What the methods of meta-learning share: a step that is taken to see where it leads, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reid.data.loader import Batch
from reid.data.samplers.meta import META_TEST, META_TRAIN
from reid.losses import Term
from reid.methods import Method, Phase

Direction = Callable[[Tensor, Tensor], Tensor]  # gradient and parameter -> what is taken off, times the rate


def expect_some(losses: Sequence[Term]) -> None:
    """Raises ValueError where there are no losses to learn by."""
    if not losses:
        raise ValueError("LOSSES is empty; name at least one, such as [{NAME: softmax}, {NAME: triplet}]")


def split(batch: Batch) -> tuple[Batch, Batch]:
    """The rows of meta-train, and those of meta-test."""
    return batch.select(batch.roles == META_TRAIN), batch.select(batch.roles == META_TEST)


def inner_step(
    method: Method,
    phase: Phase,
    inner_lr: float = 0.0,
    second_order: bool = False,
    direction: Direction = lambda gradient, parameter: gradient,
) -> dict[str, Tensor]:
    """Every parameter that learns, by its name in the method, after one step down the losses of `phase`; the parameters stay.

    inner_lr: 0 takes the rate that the optimiser has for each. second_order: what comes of them also learns through the gradient.
    """
    learned: dict[str, nn.Parameter] = {name: p for name, p in method.named_parameters() if p.requires_grad}
    rates = {id(p): inner_lr or method.rate(group["name"]) for group in method.param_groups() for p in group["params"]}
    loss = torch.stack(list(phase.losses.values())).sum()
    gradients = method.inner_grad(loss, list(learned.values()), second_order)
    return {
        name: p - rates[id(p)] * direction(gradient, p)
        for (name, p), gradient in zip(learned.items(), gradients, strict=True)
    }


def with_meta(phase: Phase, meta: Phase, weight: float) -> Phase:
    """One step for both: the losses and counts of meta-test are called meta_*, its losses times `weight`; nothing of it is kept."""
    losses = {f"meta_{name}": weight * loss for name, loss in meta.losses.items()}
    counts = {f"meta_{name}": count for name, count in meta.counts.items()}
    return Phase(phase.losses | losses, keep=phase.keep, counts=phase.counts | counts)
