"""What the counting spends its time on, each in a form for every machine. All forms come to the same counts.

A counter(scores (B, N), thresholds (B, T), counts (B, T) int32) adds to `counts` how many scores of the row reach each
threshold. `scores` may be a transpose, and stays as it is. The thresholds of a row fall, and +inf ends them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from reid.evaluation.blocks import slices

try:
    from reid.evaluation import _rank as kernel
except ImportError:  # nothing was compiled when reid was installed: the results are the same, they take longer
    kernel = None  # type: ignore[assignment]

Counter = Callable[[Tensor, Tensor, Tensor], None]

MANY = 128  # thresholds per row from which sorting the row once is cheaper than the kernel's passes over it
ROWS_AT_ONCE = 64  # rows sorted at once: 1 MB of a tile stays in the second-level cache


def choose(device: torch.device, num_thresholds: int) -> Counter:
    """The fastest counter for matrices on `device` with so many thresholds per row."""
    if device.type != "cpu":
        return comparing
    return sorting if kernel is None or num_thresholds > MANY else compiled


def compiled(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
    """The kernel in `_rank.c`: about 0.04 ns a score and threshold, without Python's lock."""
    kernel.count(scores.numpy(), thresholds.numpy(), counts.numpy())


def sorting(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
    """Sorts the values of each row; numpy sorts float32 at about 2.5 ns a score, torch at ten times that."""
    for rows in slices(len(scores), ROWS_AT_ONCE):
        values = torch.from_numpy(np.sort(scores[rows].numpy(), axis=1)).contiguous()
        counts[rows] += values.shape[1] - torch.searchsorted(values, thresholds[rows], out_int32=True)


def comparing(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
    """One pass a threshold, for a GPU: there a pass costs less than a tenth of the product and needs no second buffer."""
    for column in range(thresholds.shape[1]):
        counts[:, column] += (scores >= thresholds[:, column, None]).sum(dim=1, dtype=torch.int32)
