"""Intervals of a figure: how much of it hangs on which people happened to be in the set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def intervals(
    values: Sequence[ArrayLike],
    groups: Sequence[ArrayLike],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The bootstrap interval of a mean over queries, resampling identities and not pictures.

    Pictures of one person are right or wrong together, so resampling pictures gives intervals that are too narrow.

    Args:
        values: per trial, one value a query; the figure is the mean over trials of the mean over queries.
        groups: per trial, the identity of each query; an identity drawn twice counts twice in every trial.
        resamples: how often as many identities as there are are drawn, with replacement.
        level: the share of resamples inside.
    Source: Efron 1979; cluster form: Davison and Hinkley 1997, section 3.8.
    """
    identities, members = np.unique(np.concatenate([np.asarray(g) for g in groups]), return_inverse=True)
    sizes = np.cumsum([len(np.asarray(g)) for g in groups])[:-1]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(identities), np.full(len(identities), 1 / len(identities)), size=resamples)  # (R, I)
    means = [_means(drawn, v, m, len(identities)) for v, m in zip(values, np.split(members, sizes), strict=True)]
    # A resample may miss every identity of a small trial; the mean is then over the other trials.
    low, high = np.nanquantile(np.nanmean(means, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _means(drawn: NDArray, values: ArrayLike, members: NDArray, num_identities: int) -> NDArray:
    """(R,) the mean of `values` in each resample; NaN where it holds none of them."""
    total = np.bincount(members, weights=np.asarray(values, dtype=np.float64), minlength=num_identities)
    count = np.bincount(members, minlength=num_identities)
    with np.errstate(invalid="ignore"):
        return (drawn @ total) / (drawn @ count)
