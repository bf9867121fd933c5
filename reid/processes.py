"""Several processes, one a GPU: they start equal and learn as one. Alone, every function here does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from reid import runtime


def add_up(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers, 0-d tensors, each summed over all processes."""
    if runtime.world() == 1 or not values:
        return values
    sums = torch.stack([value.double() for value in values.values()])
    distributed.all_reduce(sums)
    return dict(zip(values, sums, strict=True))


def start_equal(module: nn.Module, *, but: Iterable[Tensor] = ()) -> None:
    """Gives every process the weights and buffers of the first, but for the parameters that each has for itself."""
    if runtime.world() == 1:
        return
    own = {id(tensor) for tensor in but}
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if id(tensor) not in own:
                rows = tensor.contiguous()  # weights may be channels_last
                distributed.broadcast(rows, 0)
                tensor.copy_(rows)


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Sets each gradient to its mean over all processes; one that is missing here counts as 0 if another has it."""
    if runtime.world() == 1 or not parameters:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    have = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), have]) / runtime.world()
    distributed.all_reduce(flat)
    pieces = flat.split([*(p.numel() for p in parameters), len(parameters)])
    for p, gradient, mean, anyone in zip(parameters, gradients, pieces[:-1], pieces[-1].tolist(), strict=True):
        if anyone:
            p.grad = gradient.copy_(mean.view_as(p))
