"""NMI and AMI against scikit-learn; k-means finds what lies apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from reid.evaluation import clustering
from reid.evaluation.clustering import agreement, ami, nmi


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_equal_scikit_learn(seed, num, num_one, num_other):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, num_one, num), rng.integers(0, num_other, num)
    assert nmi(one, other) == pytest.approx(metrics.normalized_mutual_info_score(one, other), abs=1e-9)
    assert ami(one, other) == pytest.approx(metrics.adjusted_mutual_info_score(one, other), abs=1e-7)


def test_classes_that_lie_apart_are_found():
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3 + 5
    rows = (10 * np.eye(8)[classes] + 0.1 * rng.normal(size=(60, 8))).astype(np.float32)
    assert agreement(rows, classes) == pytest.approx({"NMI": 1, "AMI": 1})


def test_of_several_starts_the_closest_is_kept(monkeypatch):
    rng = np.random.default_rng(0)
    rows, classes = rng.normal(size=(300, 4)).astype(np.float32), rng.integers(0, 30, 300)
    seen = []
    real = clustering.k_means
    monkeypatch.setattr(clustering, "k_means", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])
    for starts in (1, 20):
        agreement(rows, classes, starts=starts)

    def spread(clusters):
        return sum(((rows[clusters == c] - rows[clusters == c].mean(0)) ** 2).sum() for c in np.unique(clusters))

    assert spread(seen[1]) < spread(seen[0])


def test_noise_agrees_by_chance_only():
    rng = np.random.default_rng(0)
    found = agreement(rng.normal(size=(200, 8)).astype(np.float32), rng.integers(0, 40, 200))
    assert found["NMI"] > 0.5
    assert abs(found["AMI"]) < 0.1


def test_classes_of_another_length_are_refused():
    with pytest.raises(ValueError, match="classes of shape"):
        agreement(np.eye(3, dtype=np.float32), [0, 1])
