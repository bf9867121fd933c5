"""From indices to batches of pictures; batches are built whole inside the worker processes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Batch:
    """What a method is given at each step.

    images: (B, 3, H, W) uint8 RGB. classes, camids, domains, indices, part: (B,) int64. camid -1: no camera known.
    paths: where each picture came from. step: optimiser steps taken before this one. epoch: from 0.
    """

    images: Tensor
    classes: Tensor
    camids: Tensor
    domains: Tensor
    indices: Tensor
    part: Tensor
    paths: list[str]
    step: int = 0
    epoch: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, non_blocking=True) for k, v in moved.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.classes)
