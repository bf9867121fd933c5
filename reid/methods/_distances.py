"""Distances between classes, as samplers and losses that look for near classes take them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def class_distances(embeddings: Tensor, classes: Tensor) -> Tensor:
    """(C, C) float32, 0..4: mean squared distance between the unit embeddings of each two classes; within one, on the diagonal.

    embeddings: (N, D). classes: (N,) int64, 0..C-1, each at least once. A picture has no distance to itself; a class of
    one picture, which has no other within, takes the mean of the classes that have.
    """
    units = F.normalize(embeddings.double())
    counts = classes.bincount()
    # With unit rows the mean over all pairs is 2 - 2 (mean row of p) . (mean row of q): no (N, N) matrix is needed.
    means = units.new_zeros(len(counts), units.shape[1]).index_add_(0, classes, units) / counts[:, None]
    distances = (2 - 2 * means @ means.T).clamp_min(0)
    several = counts > 1
    within = distances.diagonal()
    within *= torch.where(several, counts / (counts - 1), 0)  # pairs of two pictures, of all n * n
    within[~several] = within[several].mean() if several.any() else 0
    return distances.float()
