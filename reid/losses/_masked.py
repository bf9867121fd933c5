"""Sums and means over some of the pairs, safe where a row has none."""

from __future__ import annotations

import torch
from torch import Tensor


def logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """(B,) log of the summed exp over the pairs in `mask` (B, N); a row without any gives the lowest finite number.

    Finite, because -inf would make the gradient of such a row NaN instead of 0. log(1 + sum) is the softplus of this.
    By log_softmax: torch.logsumexp takes five times as long on a CPU where exp underflows, as most of a memory's does.
    """
    lowest = torch.finfo(values.dtype).min
    if not values.shape[1]:
        return values.sum(dim=1) + lowest
    values = values.masked_fill(~mask, lowest)
    most, where = values.max(dim=1, keepdim=True)
    return (most - values.log_softmax(dim=1).gather(1, where))[:, 0]


def listed(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(K,) row, column, and number within the row, 0 and up, of the pairs in `mask` (B, N), row by row."""
    rows, columns = mask.nonzero(as_tuple=True)
    counts = rows.bincount(minlength=len(mask))
    return rows, columns, torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]


def packed(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The values in `mask` (B, N) moved together, (B, P), P those of the fullest row, and which of them are there, (B, P) bool.

    For positives: of a memory's columns they are few, and what follows then costs next to nothing.
    """
    rows, columns, slots = listed(mask)
    width = int(slots.max()) + 1 if len(slots) else 0
    there = mask.new_zeros(len(mask), width)
    there[rows, slots] = True
    together = values.new_zeros(len(mask), width)
    together[rows, slots] = values[rows, columns]
    return together, there


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values in `mask`, of the same shape; 0 with gradient 0 without any."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp_min(1)


def mean_above_zero(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over rows with any of the mean of a row's values that are in `mask` (B, N) and above 0; 0 without any."""
    active = mask & (values > 0)
    counts = active.sum(dim=1)
    rows = values.masked_fill(~active, 0).sum(dim=1) / counts.clamp_min(1)
    return mean(rows, counts > 0)


def log_mean_exp(values: Tensor, mask: Tensor) -> Tensor:
    """Log of the mean of exp over all values in `mask`, of the same shape; 0 with gradient 0 without any."""
    count = mask.sum()
    total = logsumexp(values.flatten()[None], mask.flatten()[None])[0] - count.clamp_min(1).to(values.dtype).log()
    return total.masked_fill(count == 0, 0)
