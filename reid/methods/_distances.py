"""Distances between classes and the nearest classes, as samplers and losses that look for near classes take them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.plan import Plan

NUMBERS = 2**24  # of an array of neighbours, 128 MiB, and of a block of distances while they are looked for


def class_plan(embeddings: Tensor, classes: Tensor, needs: frozenset[str]) -> Plan:
    """`distances`, `neighbours` or both, as `needs` names them; arguments as in `class_distances`."""
    distances = class_distances(embeddings, classes) if "distances" in needs else None
    neighbours = class_neighbours(embeddings, classes) if "neighbours" in needs else None
    return Plan(distances=distances, neighbours=neighbours)


def class_distances(embeddings: Tensor, classes: Tensor) -> Tensor:
    """(C, C) float32, 0..4: mean squared distance between the unit embeddings of each two classes; within one, on the diagonal.

    embeddings: (N, D). classes: (N,) int64, 0..C-1, each at least once. A picture has no distance to itself; a class of
    one picture, which has no other within, takes the mean of the classes that have.
    """
    means, counts = _means(embeddings, classes), classes.bincount()
    distances = _between(means, means)
    several = counts > 1
    within = distances.diagonal()
    within *= torch.where(several, counts / (counts - 1), 0)  # pairs of two pictures, of all n * n
    within[~several] = within[several].mean() if several.any() else 0
    return distances.float()


def class_neighbours(embeddings: Tensor, classes: Tensor, numbers: int = NUMBERS) -> Tensor:
    """(C, k) int64: of each class the k nearest others by `class_distances`, the nearest first, the lower class of equals.

    k is as large as C k <= `numbers` allows: all C - 1 others of up to 4,096 classes, 167 of 100,000, and never less than
    1. Distances are made in blocks of rows; there is no (C, C) matrix.
    """
    means = _means(embeddings, classes)
    num = len(means)
    k = min(num - 1, max(1, numbers // num))
    found = []
    for rows in torch.arange(num).split(max(1, numbers // num)):
        distances = _between(means[rows], means).float()
        # As a distance of 0 or more grows so do its bits; with the class below them no two keys are equal.
        keys = (distances.view(torch.int32).long() << 32) + torch.arange(num)
        keys[torch.arange(len(rows)), rows] = torch.iinfo(torch.int64).max  # itself
        found.append(keys.topk(k, largest=False).indices)
    return torch.cat(found)


def _means(embeddings: Tensor, classes: Tensor) -> Tensor:
    """(C, D) float64: the mean unit embedding of each class."""
    units = F.normalize(embeddings.double())
    counts = classes.bincount()
    return units.new_zeros(len(counts), units.shape[1]).index_add_(0, classes, units) / counts[:, None]


def _between(some: Tensor, means: Tensor) -> Tensor:
    """(B, C) mean squared distances over all pairs of pictures, by the mean rows (B, D) and (C, D) of their classes."""
    # With unit rows that is 2 - 2 (mean row of p) . (mean row of q): no (N, N) matrix is needed.
    return (2 - 2 * some @ means.T).clamp_min(0)
