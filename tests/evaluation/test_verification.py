"""TPR at FPR against a full list of pairs."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid.evaluation import counting
from reid.evaluation.rank import Ids
from reid.evaluation.verification import tpr_at_fpr

FPRS = (0, 0.01, 0.1, 0.5, 1)


def slow(query, gallery, pids, camids, fprs):
    """Every pair of every query that has a match, in one list."""
    right, wrong = [], []
    for i, pid in enumerate(pids[0]):
        pairs = [
            (bool(pid == other and pid), camids[0][i] == camids[1][j], query[i] @ gallery[j])
            for j, other in enumerate(pids[1])
        ]
        if any(same and not junk for same, junk, _ in pairs):
            right += [score for same, junk, score in pairs if same and not junk]
            wrong += [score for same, _, score in pairs if not same]
    wrong.sort(reverse=True)
    limits = [wrong[int(fpr * len(wrong))] if fpr < 1 else -1e9 for fpr in fprs]
    limits = [limit + 1e-6 * max(1, abs(limit)) for limit in limits]
    return np.array([np.mean([score > limit for score in right]) for limit in limits]), wrong


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1024]))
@settings(max_examples=60, deadline=None)
def test_equals_a_list_of_all_pairs(seed, tile):
    rng = np.random.default_rng(seed)
    query, gallery = (2 * rng.integers(-3, 4, (n, 3)).astype(np.float32) for n in (9, 21))
    pids = rng.integers(0, 4, 9), rng.integers(0, 5, 21)
    camids = rng.integers(0, 2, 9), rng.integers(0, 2, 21)
    try:
        expected, wrong = slow(query, gallery, pids, camids, FPRS)
    except IndexError:
        assume(False)
    assume(len(wrong) and not np.isnan(expected).any())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", (tile, tile))
        found = tpr_at_fpr(query, gallery, *(Ids(p, c) for p, c in zip(pids, camids, strict=True)), fprs=FPRS)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_equals_the_list_on_cosines_of_one_set():
    rng = np.random.default_rng(0)
    pids = rng.integers(1, 9, 120)
    rows = rng.normal(size=(9, 12))[pids] + 1.5 * rng.normal(size=(120, 12))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    camids = np.arange(120)  # only a picture itself shares its camera, so junk is the picture itself
    expected, _ = slow(rows, rows, (pids, pids), (camids, camids), FPRS)
    np.testing.assert_allclose(tpr_at_fpr(rows, None, Ids(pids), fprs=FPRS), expected, atol=1e-12)
    assert 0 < expected[1] < expected[2] < expected[3] < 1 == expected[4]


def test_what_has_no_answer_is_refused():
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"expected one or more in 0\.\.1"):
        tpr_at_fpr(rows, None, Ids([1, 1, 2]), fprs=[1.5])
    with pytest.raises(ValueError, match="found 0 matching and 0 wrong pairs"):
        tpr_at_fpr(rows, None, Ids([1, 2, 3]))
    with pytest.raises(ValueError, match="found 6 matching and 0 wrong pairs"):
        tpr_at_fpr(rows, None, Ids([1, 1, 1]))
