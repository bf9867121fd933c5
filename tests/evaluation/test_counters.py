"""The counters and the kernel against plain comparison."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.evaluation import counters

needs_kernel = pytest.mark.skipif(counters.kernel is None, reason="reid was installed without a compiler")
NAMES = ["sorting", "comparing", pytest.param("compiled", marks=needs_kernel)]


@pytest.mark.parametrize("name", NAMES)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.integers(1, 70),
    st.sampled_from([1, 3, 4, 5, 17, 40]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_counts_what_reaches_each_threshold(name, seed, num_rows, num_columns, num_thresholds, transposed):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.integers(-4, 5, (num_rows, num_columns)).astype(np.float32))
    scores[rng.random(scores.shape) < 0.1] = -torch.inf
    thresholds = rng.integers(-4, 5, (num_rows, num_thresholds)).astype(np.float32)
    thresholds = torch.from_numpy(-np.sort(-thresholds, axis=1))
    used = torch.from_numpy(rng.integers(0, num_thresholds + 1, num_rows))
    thresholds[torch.arange(num_thresholds) >= used[:, None]] = torch.inf
    expected = 7 + (scores[:, None, :] >= thresholds[:, :, None]).sum(dim=2)
    counts = torch.full(thresholds.shape, 7, dtype=torch.int32)
    given_scores = scores.T.contiguous().T if transposed else scores
    getattr(counters, name)(given_scores, thresholds, counts)
    assert torch.equal(counts.long(), expected)


@needs_kernel
def test_the_kernel_refuses_what_it_would_misread():
    scores, thresholds, counts = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros((2, 4), np.int32)
    for wrong in (
        (scores.astype(np.float64), thresholds, counts),
        (scores[:1], thresholds, counts),
        (scores, thresholds[:, :3], counts),
        (scores, thresholds[:, ::2], counts[:, ::2]),
        (scores, thresholds, counts.astype(np.int64)),
        (np.zeros((2, 3, 4), np.float32)[:, :, 0], thresholds, counts),
    ):
        with pytest.raises(ValueError, match="count: expected"):
            counters.kernel.count(*wrong)
    with pytest.raises(TypeError, match="expected 3 arrays"):
        counters.kernel.count(scores)
