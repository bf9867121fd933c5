"""Intervals by resampling identities."""

import numpy as np
import pytest

from reid.evaluation.metrics import intervals


def test_equals_a_slow_bootstrap():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 30, 200)
    values = rng.random(200) * (groups % 3)
    low, high = intervals([values], [groups], resamples=4000)
    means = []
    for _ in range(4000):
        drawn = rng.choice(np.unique(groups), 30)
        means.append(np.concatenate([values[groups == identity] for identity in drawn]).mean())
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)


def test_is_wider_than_resampling_pictures():
    groups = np.repeat(np.arange(20), 25)
    values = (groups % 2).astype(float)
    low, high = intervals([values], [groups], resamples=1000)
    assert high - low > 0.3


def test_a_figure_without_spread_has_no_width():
    assert intervals([np.ones(9)], [np.arange(9)], resamples=50) == (1, 1)


def test_trials_weigh_the_same_whatever_their_length():
    low, high = intervals([np.ones(900), np.zeros(10)], [np.zeros(900, int), np.zeros(10, int)], resamples=50)
    assert (low, high) == (0.5, 0.5)


def test_the_seed_decides():
    values, groups = np.arange(40) / 40, np.arange(40)
    first = intervals([values], [groups], resamples=100, seed=1)
    assert first == intervals([values], [groups], resamples=100, seed=1)
    assert first != intervals([values], [groups], resamples=100, seed=2)
