"""Sums and means over some of the pairs, safe where a row has none."""

from __future__ import annotations

import torch
from torch import Tensor


def logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """(B,) log of the summed exp over the pairs in `mask` (B, N); a row without any gives the lowest finite number.

    Finite, because -inf sends NaN backwards through such a row. log(1 + sum) is the softplus of this.
    """
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(dim=1)


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values in `mask`, of the same shape; 0 with gradient 0 without any."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp_min(1)
