"""What a method decides about the training set before an epoch; samplers deal by it, losses and batches see it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """N training samples of C classes. Everything is on the CPU and may be absent; checkpoints carry it.

    parts: (N,) int64 from 0, the part of a division that each sample belongs to; -1 for one that is not to be dealt.
    distances: (C, C) float32, between each two classes; smaller is nearer.
    neighbours: (C, k) int64, of each class the k nearest others, the nearest first; where C is large k is less than C - 1.
    Raises ValueError for another shape, dtype or device.
    """

    parts: Tensor | None = None
    distances: Tensor | None = None
    neighbours: Tensor | None = None

    def __post_init__(self) -> None:
        self._check("parts", 1, torch.int64)
        self._check("distances", 2, torch.float32)
        self._check("neighbours", 2, torch.int64)
        if self.distances is not None and self.distances.shape[0] != self.distances.shape[1]:
            raise ValueError(f"plan: found distances {tuple(self.distances.shape)}; expected (C, C)")

    @property
    def given(self) -> frozenset[str]:
        """The names of what there is."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def _check(self, name: str, dim: int, dtype: torch.dtype) -> None:
        value = getattr(self, name)
        if value is not None and (value.ndim, value.dtype, value.device.type) != (dim, dtype, "cpu"):
            raise ValueError(
                f"plan: found {name} {tuple(value.shape)}, {value.dtype} on {value.device}; "
                f"expected {dim} dimension(s) of {dtype} on the CPU"
            )
