"""Tiles and pairs of every similarity against float64; shortlists against a loop; what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from reid import similarity
from reid.similarity import Inner
from reid.similarity.matched import GAP, Matched, Rescored
from reid.similarity.sparse import Sum

needs_kernel = pytest.mark.skipif(similarity.kernel is None, reason="reid was installed without a compiler")


def maps(num, seed, shape=(3, 4)):
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(seed))


def best_places(query, gallery):
    """A small matcher, not symmetric: each column of a query's map takes its best in the other map; their mean."""
    return torch.einsum("bcp,ncq->bnpq", query, gallery).amax(dim=3).mean(dim=2)


def slow_matches(query, gallery):
    """(Q, G) float64: the same in loops."""
    found = np.zeros((len(query), len(gallery)))
    for i, one in enumerate(query.double().numpy()):
        for j, other in enumerate(gallery.double().numpy()):
            found[i, j] = np.mean([max(one[:, p] @ other[:, q] for q in range(4)) for p in range(4)])
    return found


def slow_shortlists(base, matched, first):
    """(Q, G) float64: what the first few by `base` score by `matched`, all others below them in the order of the base."""
    found = base.copy()
    for i, row in enumerate(base):
        if first >= len(row):
            found[i] = matched[i]
            continue
        left_out = sorted(row, reverse=True)[first]
        listed = row > left_out
        if listed.any():
            lowest = matched[i, listed].min()
            found[i] += lowest - GAP * max(1, abs(lowest)) - left_out
            found[i, listed] = matched[i, listed]
    return found


def whole(found):
    """(Q, G): all scores, as one tile."""
    rows, columns = (slice(0, num) for num in found.shape)
    return found.tile(rows, columns, torch.empty(found.shape))


def made(name, seed=0, first=4):
    """A similarity of 9 queries and 21 gallery pictures, and its scores in float64."""
    rng = np.random.default_rng(seed)
    query, gallery = maps(9, seed), maps(21, seed + 1)
    base = Inner(query.mean(dim=2), gallery.mean(dim=2))
    exact = (query.double().mean(dim=2) @ gallery.double().mean(dim=2).T).numpy()
    matched = Matched(best_places, query, gallery, scale=30.0, pairs_at_once=7)
    filled = np.where(rng.random(exact.shape) < 0.3, rng.normal(size=exact.shape), 0).astype(np.float32)
    factors = torch.rand(9, generator=torch.Generator().manual_seed(seed)) + 0.5
    scaled = factors.double().numpy()[:, None]
    return {
        "inner": lambda: (base, exact),
        "sum": lambda: (Sum(base, csr_array(filled)), exact + filled),
        "matched": lambda: (matched, slow_matches(query, gallery)),
        "inner, times": lambda: (base.times(factors), exact * scaled),
        "matched, times": lambda: (matched.times(factors), slow_matches(query, gallery) * scaled),
        "rescored": lambda: (
            Rescored(base, matched, first),
            slow_shortlists(exact, slow_matches(query, gallery), first),
        ),
    }[name]()


NAMES = ["inner", "sum", "matched", "inner, times", "matched, times", "rescored"]


@pytest.mark.parametrize("kernel", [None, pytest.param(similarity.kernel, marks=needs_kernel)], ids=["plain", "kernel"])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_and_pairs_are_the_scores(monkeypatch, name, kernel):
    monkeypatch.setattr(similarity, "kernel", kernel)
    found, expected = made(name)
    assert (found.shape, found.symmetric) == ((9, 21), False)
    np.testing.assert_allclose(whole(found), expected, atol=1e-5)
    assert np.abs(expected).max() <= found.scale + 1e-5
    buffer = torch.full((60,), torch.nan)
    for rows, columns in [(slice(0, 9), slice(3, 8)), (slice(2, 5), slice(0, 20)), (slice(8, 9), slice(20, 21))]:
        tile = found.tile(rows, columns, buffer)
        np.testing.assert_allclose(tile, expected[rows, columns], atol=1e-5)
        assert tile.data_ptr() == buffer.data_ptr()
    rows, columns = (torch.randint(0, num, (40,), generator=torch.Generator().manual_seed(5)) for num in found.shape)
    np.testing.assert_allclose(found.pairs(rows, columns), expected[rows, columns], atol=1e-5)
    assert found.pairs(rows[:0], columns[:0]).shape == (0,)


@pytest.mark.parametrize("kernel", [None, pytest.param(similarity.kernel, marks=needs_kernel)], ids=["plain", "kernel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dim", [1, 31, 32, 100])
def test_pairs_are_multiplied_in_parts(monkeypatch, kernel, dtype, dim):
    monkeypatch.setattr(similarity, "kernel", kernel)
    monkeypatch.setattr(similarity, "PAIRS_AT_ONCE", 7)
    generator = torch.Generator().manual_seed(0)
    query, gallery = (torch.randn(n, dim, generator=generator).to(dtype) for n in (5, 9))
    rows, columns = (torch.randint(0, n, (20,), generator=generator) for n in (5, 9))
    expected = (query.double()[rows] * gallery.double()[columns]).sum(dim=1)
    found = Inner(query, gallery).pairs(rows, columns)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


@needs_kernel
def test_the_kernel_refuses_what_it_would_misread():
    scores, other, out = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros(1, np.float32)
    with pytest.raises(IndexError, match="pair 0 is outside"):
        similarity.kernel.dot(scores, scores, np.array([2]), np.array([0]), out)
    with pytest.raises(ValueError, match="dot: expected"):
        similarity.kernel.dot(scores, other, np.array([0]), np.array([0]), out)
    with pytest.raises(TypeError, match="expected 5 arrays"):
        similarity.kernel.dot(scores)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_sparse_cells_are_found_whatever_their_pattern(seed, num_query, num_gallery, in_order):
    rng = np.random.default_rng(seed)
    cells = np.argwhere(rng.random((num_query, num_gallery)) < rng.random())
    rows, columns = cells.T if in_order else rng.permutation(cells).T
    values = rng.normal(size=len(rows)).astype(np.float32)
    expected = np.zeros((num_query, num_gallery), np.float32)
    expected[rows, columns] = values
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=num_query))])
    order = np.argsort(rows, kind="stable")  # rows in order, columns of a row in any
    bonus = csr_array((values[order], columns[order], starts), shape=expected.shape)
    zeros = torch.zeros(num_query, 1), torch.zeros(num_gallery, 1)
    found = Sum(Inner(*zeros), bonus)
    np.testing.assert_array_equal(whole(found), expected)
    top, left = rng.integers(0, num_query), rng.integers(0, num_gallery)
    tile = found.tile(slice(top, num_query), slice(left, num_gallery), torch.empty(expected.shape))
    np.testing.assert_array_equal(tile, expected[top:, left:])
    rows, columns = rng.integers(0, num_query, 20), rng.integers(0, num_gallery, 20)
    np.testing.assert_array_equal(
        found.pairs(torch.from_numpy(rows), torch.from_numpy(columns)), expected[rows, columns]
    )


def test_one_tensor_twice_is_symmetric():
    rows = maps(5, 0)
    flat = rows.flatten(1)
    assert Inner(flat, flat).symmetric
    assert not Inner(flat, flat.clone()).symmetric
    assert not Inner(flat, flat).times(torch.ones(5)).symmetric
    assert not Matched(best_places, rows, rows).symmetric
    assert Matched(best_places, rows, rows, symmetric=True).symmetric
    assert not Matched(best_places, rows, rows.clone(), symmetric=True).symmetric


def test_scales_of_their_own_cannot_be_compared():
    assert [made(name)[0].one_scale for name in NAMES] == [True, True, True, False, False, False]


@pytest.mark.parametrize("pairs_at_once", [1, 2, 10, 4096])
def test_a_matcher_sees_no_more_pairs_at_once_than_allowed(pairs_at_once):
    seen = []

    def matcher(query, gallery):
        assert not torch.is_grad_enabled()
        seen.append(len(query) * len(gallery))
        return best_places(query, gallery)

    query, gallery = maps(9, 0), maps(21, 1)
    found = Matched(matcher, query, gallery, pairs_at_once=pairs_at_once)
    np.testing.assert_allclose(whole(found), slow_matches(query, gallery), atol=1e-5)
    found.pairs(torch.zeros(30, dtype=torch.int64), torch.zeros(30, dtype=torch.int64))
    assert max(seen) <= pairs_at_once


def test_a_shortlist_as_long_as_the_gallery_is_the_matcher_alone():
    matched = Matched(best_places, maps(9, 0), maps(21, 1), symmetric=True)
    for first in (21, 500):
        found = Rescored(made("inner")[0], matched, first)
        assert torch.equal(whole(found), whole(matched))
        rows, columns = torch.arange(9), torch.arange(9) * 2
        assert torch.equal(found.pairs(rows, columns), matched.pairs(rows, columns))
        assert (found.one_scale, found.scale) == (True, matched.scale)
        assert found.rescoring == f"first {first} rescored"  # of every set, whatever its size
    rows = maps(9, 0)
    mutual = Matched(best_places, rows, rows, symmetric=True)
    assert Rescored(Inner(rows.flatten(1), rows.flatten(1)), mutual, 9).symmetric


@pytest.mark.parametrize("first", [1, 3, 20])
def test_a_shortlist_comes_before_all_others(monkeypatch, first):
    monkeypatch.setattr("reid.similarity.matched.CELLS_AT_ONCE", 50)  # rows in several parts
    found, expected = made("rescored", seed=3, first=first)
    np.testing.assert_allclose(whole(found), expected, atol=1e-5)
    base, scores = whole(found.base), whole(found)
    for i in range(9):
        order = base[i].argsort(descending=True)
        assert scores[i, order[:first]].min() > scores[i, order[first:]].max() + GAP / 2
        assert torch.equal(scores[i, order[first:]].argsort(descending=True), torch.arange(21 - first))


def test_what_ties_with_the_first_left_out_is_left_out():
    base = Inner(torch.ones(2, 1), torch.tensor([[3.0], [2.0], [2.0], [2.0], [1.0]]))
    rising = Inner(torch.ones(2, 1), torch.arange(5.0)[:, None])
    for first, listed in ((1, [0]), (2, [0]), (3, [0]), (4, [0, 1, 2, 3])):
        scores = whole(Rescored(base, rising, first))[0]
        rest = [i for i in range(5) if i not in listed]
        assert scores[listed].tolist() == listed
        assert scores[rest].max() < 0
    flat = Inner(torch.ones(2, 1), torch.ones(5, 1))  # everything ties: nothing is rescored
    assert torch.equal(whole(Rescored(flat, rising, 2)), whole(flat))


def test_what_does_not_fit_is_refused():
    rows = maps(4, 0)
    inner = Inner(rows.flatten(1), rows.flatten(1))
    with pytest.raises(ValueError, match=r"found rows \(4, 3, 4\) and \(4, 3, 4\); an inner product needs"):
        Inner(rows, rows)
    with pytest.raises(ValueError, match=r"bonus of shape \(4, 5\); expected \(4, 4\)"):
        Sum(inner, csr_array((4, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="expected rows of one shape"):
        Matched(best_places, rows, rows[:, :2])
    with pytest.raises(ValueError, match="pairs_at_once 0"):
        Matched(best_places, rows, rows, pairs_at_once=0)
    with pytest.raises(ValueError, match=r"base \(4, 4\) and a matched \(4, 3\)"):
        Rescored(inner, Matched(best_places, rows, rows[:3]), 2)
    with pytest.raises(ValueError, match="found first 0"):
        Rescored(inner, Matched(best_places, rows, rows), 0)


def test_a_broken_matcher_is_told():
    rows = maps(4, 0)
    with pytest.raises(ValueError, match="NaN or infinite scores from the matcher"):
        whole(Matched(lambda query, gallery: best_places(query, gallery) / 0, rows, rows))
    with pytest.raises(ValueError, match=r"found scores \(4, 4, 4, 4\) from the matcher; expected \(4, 4\)"):
        whole(Matched(lambda query, gallery: torch.einsum("bcp,ncq->bnpq", query, gallery), rows, rows))
