"""Every triplet at once, by counting: no list of triplets, no sort of a memory's columns."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses._masked import listed
from reid.pairs import Pairs


@torch.no_grad()
def active(
    distances: Tensor, margins: float | Tensor, pairs: Pairs, *, semi_hard: bool = False
) -> tuple[Tensor, Tensor]:
    """In how many triplets with d_p - d_n + margin > 0 each pair stands: (B, N) as positive, (B, N) as negative.

    A sum over these triplets is linear in the distances, with the two counts as its weights. Each negative is ranked
    among its anchor's positives, which are few.

    Args:
        distances: (B, N). margins: one, or that of each negative, (B, N).
        semi_hard: only triplets whose negative is farther than the positive, d_n > d_p.
    """
    rows, columns, slots = listed(pairs.positive)
    counts = rows.bincount(minlength=len(distances))
    near = distances.new_full((len(counts), int(counts.max())), torch.inf)  # (B, P), padded
    near[rows, slots] = distances[rows, columns]
    near, order = near.sort(dim=1)
    # Sorted, the positives first..last - 1 of an anchor form triplets with a negative.
    first = torch.searchsorted(near, distances - margins, right=True)  # (B, N)
    last = torch.searchsorted(near, distances) if semi_hard else counts[:, None]
    pushes = (last - first) * pairs.negative
    # How many negatives begin, less how many ended, at or before each positive.
    change = torch.zeros(len(counts), near.shape[1] + 1, dtype=torch.int64, device=rows.device)
    change.scatter_add_(1, first, pairs.negative.long())
    if semi_hard:
        change.scatter_add_(1, last, -pairs.negative.long())
    pulls = torch.zeros_like(distances)
    of_slots = torch.empty_like(near).scatter_(1, order, change.cumsum(dim=1)[:, :-1].to(near.dtype))
    pulls[rows, columns] = of_slots[rows, slots]
    return pulls, pushes.to(distances.dtype)
