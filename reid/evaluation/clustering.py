"""Do embeddings fall into their classes by themselves? k-means, compared with the classes by NMI and AMI."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, xlogy
from torch import Tensor

from reid.clusters import k_means
from reid.evaluation import checks
from reid.evaluation.rank import Embeddings


def agreement(
    embeddings: Embeddings, classes: ArrayLike | Tensor, *, iterations: int = 20, starts: int = 1, seed: int = 0
) -> dict[str, float]:
    """`NMI` and `AMI` of the classes and as many k-means clusters.

    Args:
        embeddings: (N, D) float32 or float16; k-means goes by Euclidean distance, so normalise for a cosine.
        classes: (N,) whole numbers. iterations: of k-means. seed: of its starts, of which the one with the smallest squared
            distances is kept. Between single starts AMI was seen to spread by 0.07 on one set of embeddings; compare methods
            by several starts, or over seeds.
    Raises: ValueError for bad embeddings or classes of another length.
    """
    rows, _ = checks.embeddings(embeddings, None)
    labels = np.unique(checks.integers(classes, len(rows), "classes"), return_inverse=True)[1]
    clusters = k_means(rows, int(labels.max()) + 1, iterations=iterations, seed=seed, redo=starts)
    return {"NMI": nmi(labels, clusters), "AMI": ami(labels, clusters)}


def nmi(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Normalised mutual information of two labellings (N,), by the mean of their entropies; 1 where both are constant.

    Source: Strehl and Ghosh 2002; the arithmetic mean is the usual one in metric learning.
    """
    shared, mean = _information(one, other)
    return 1.0 if mean == 0 else shared / mean


def ami(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """As `nmi`, less what labellings with clusters of these sizes share by chance, so that chance is 0.

    Source: Vinh et al. 2010, eq. 24a for the expectation; arithmetic mean.
    """
    shared, mean = _information(one, other)
    expected = _expected_information(np.bincount(one), np.bincount(other))
    # Both constant, or both all different: nothing is left to chance, and they agree.
    return 1.0 if abs(mean - expected) < 1e-12 else (shared - expected) / (mean - expected)


def _information(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, float]:
    """What two labellings share, and the mean of their entropies; in nats."""
    joint = np.unique(one * (other.max() + 1) + other, return_counts=True)[1]
    a, b, both = _entropy(np.bincount(one)), _entropy(np.bincount(other)), _entropy(joint)
    return max(a + b - both, 0.0), (a + b) / 2


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts / counts.sum()
    return float(-xlogy(shares, shares).sum())


def _expected_information(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The mean information shared by all pairs of labellings with these cluster sizes.

    It depends on sizes alone, and sets have few different ones: each pair of sizes is summed once.
    """
    total = int(one.sum())
    sizes, times = np.unique(one[one > 0], return_counts=True)
    others, other_times = np.unique(other[other > 0], return_counts=True)
    factorial = gammaln(np.arange(total + 2) + 1.0)  # log n!
    expected = 0.0
    for a, of_a in zip(sizes, times, strict=True):
        for b, of_b in zip(others, other_times, strict=True):
            both = np.arange(max(1, a + b - total), min(a, b) + 1)  # pictures that the two clusters may share
            log_chance = factorial[[a, b, total - a, total - b]].sum() - factorial[total]
            log_chance = log_chance - factorial[both] - factorial[a - both] - factorial[b - both]
            chance = np.exp(log_chance - factorial[total - a - b + both])
            expected += of_a * of_b * float((both / total * np.log(total * both / (a * b)) * chance).sum())
    return expected
