"""What the losses on angles share: rows of weights, their cosines with embeddings, and a margin on a class's own entry.

Everything is float32 or wider whatever the autocast: the losses scale cosines by up to 256.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.pairs import wide


def directions(num_rows: int, dim: int) -> nn.Parameter:
    """Rows (num_rows, dim) in random directions, all of length 1: only directions count, and how far a step turns a row
    depends on its length. Every loss on angles starts so, whatever its authors' code does.
    """
    return nn.Parameter(F.normalize(torch.randn(num_rows, dim, dtype=torch.float32)))


def unit(rows: Tensor) -> Tensor:
    """(..., D) rows scaled to length 1. A row of zeros stays zeros, with gradient 0 where F.normalize gives 1e12 times it."""
    rows = wide(rows)
    return rows * _inverse_lengths(rows)[..., None]


def cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """(..., B, D) and (..., N, D) -> (..., B, N), 0 for a row of zeros.

    The products are scaled, not the rows: where there are many classes that spares several passes over all weights.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings, weight = wide(embeddings), wide(weight)
        products = embeddings @ weight.mT
        return products * _inverse_lengths(embeddings)[..., :, None] * _inverse_lengths(weight)[..., None, :]


def _inverse_lengths(rows: Tensor) -> Tensor:
    """(...,) of rows (..., D); 0 for a row of zeros."""
    lengths = rows.norm(dim=-1)
    return lengths.masked_fill(lengths < 1e-12, torch.inf).reciprocal()


def on_own(logits: Tensor, classes: Tensor, margin: Callable[[Tensor], Tensor]) -> Tensor:
    """logits (B, C) with the entry of each row's own class, passed to `margin` as (B, 1), replaced by what it returns."""
    own = classes[:, None]
    return logits.scatter(1, own, margin(logits.gather(1, own)))
