"""k-means by faiss."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def k_means(rows: Tensor, num: int, *, iterations: int, seed: int, redo: int = 1) -> NDArray[np.int64]:
    """(N,) the cluster, 0..num - 1, of each row (N, D), that of the nearest centre; on all rows.

    redo: starts, of which the one with the smallest squared distances is kept.
    """
    points = np.ascontiguousarray(rows.float().cpu().numpy())
    # faiss would otherwise warn below 39 points a cluster, and leave points out above 256.
    settings = {"min_points_per_centroid": 1, "max_points_per_centroid": len(points)}
    kmeans = faiss.Kmeans(points.shape[1], num, niter=iterations, nredo=redo, seed=seed, **settings)
    kmeans.train(points)
    return kmeans.index.search(points, 1)[1][:, 0]
