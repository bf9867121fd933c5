"""Divisions of a training set: by k-means or by lot, halved, and named as the division before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from reid.clusters import k_means

STARTS = 30  # of k-means until every cluster can be learned from
Labels = NDArray[np.int64]


def divide(rows: Tensor, classes: Labels, num: int, *, seed: int, iterations: int, redo: int) -> Labels:
    """(N,) the cluster, 0..num - 1, of each of rows (N, D) of `classes` (N,).

    Every cluster has two classes with two pictures: where k-means leaves one without, it starts anew, up to 30 times.
    Raises ValueError where none of the starts gives that.
    """
    for start in range(STARTS):
        labels = k_means(rows, num, iterations=iterations, redo=redo, seed=seed + start)
        short = np.flatnonzero(usable_classes(labels, classes, num) < 2)
        if not len(short):
            return labels
    raise ValueError(
        f"divide_and_conquer: found cluster {short[0]} of {num} without two classes of two pictures, after {STARTS} starts "
        "of k-means; expected clusters with negatives and positives: set NUM_LEARNERS lower"
    )


def halve(rows: Tensor, classes: Labels, labels: Labels, num: int, *, seed: int, **settings: int) -> Labels:
    """(N,) 0..2 num - 1: cluster c of `num` is divided in two, 2c and 2c + 1. Arguments and errors as those of `divide`."""
    halves = 2 * labels
    for cluster in range(num):
        own = np.flatnonzero(labels == cluster)
        halves[own] += divide(rows[own], classes[own], 2, seed=seed, **settings)
    return halves


def by_lot(classes: Labels, num: int) -> Labels:
    """(N,) 0..num - 1: equally many classes a part, the same at every call; those of 2c and 2c + 1 of 2 num are those of c."""
    number = int(classes.max()) + 1
    return np.random.default_rng(0).permutation(number)[classes] * num // number


def rematch(labels: Labels, before: Labels, num: int, *, published: bool = False) -> Labels:
    """The division `labels` (N,) with its clusters named so that most samples are where they were in `before`.

    Of all namings the sum over clusters of |now XOR before| is smallest (Hungarian algorithm). published: as both released
    codes have it, the inverse of that naming: right where clusters only change places in pairs, wrong in longer cycles.
    """
    shared = np.zeros((num, num), np.int64)
    np.add.at(shared, (labels, before), 1)
    # |A xor B| = |A| + |B| - 2 |A and B|, and the sizes sum up to the same for every naming.
    now, then = linear_sum_assignment(shared, maximize=True)
    names = np.empty(num, np.int64)
    names[then if published else now] = now if published else then
    return names[labels]


def without_lone(labels: Labels, classes: Labels) -> Labels:
    """The same with -1 for a picture that is the only one of its class in its cluster: it has no positive there."""
    counts = _counts(labels, classes, int(labels.max()) + 1)
    return np.where(counts[labels, classes] > 1, labels, -1)


def usable_classes(labels: Labels, classes: Labels, num: int) -> Labels:
    """(num,) how many classes of two pictures or more each cluster has."""
    return (_counts(labels, classes, num) > 1).sum(axis=1)


def _counts(labels: Labels, classes: Labels, num: int) -> Labels:
    """(num, C) pictures of each class in each cluster."""
    counts = np.zeros((num, int(classes.max()) + 1), np.int64)
    np.add.at(counts, (labels, classes), 1)
    return counts
