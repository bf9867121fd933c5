"""Re-ranking against the published algorithm as slow loops; expansion and augmentation; asymmetric scores."""

import importlib

import numpy as np
import pytest
import slow
import torch

from reid.evaluation import neighbours
from reid.evaluation.rank import Ids, retrieve, score
from reid.evaluation.rerank import augment_gallery, expand_queries, k_reciprocal
from reid.similarity import Inner

needs_kernel = pytest.mark.skipif(neighbours.kernel is None, reason="reid was installed without a compiler")


@pytest.fixture(
    autouse=True, params=[None, pytest.param(neighbours.kernel, marks=needs_kernel)], ids=["plain", "kernel"]
)
def kernel(request, monkeypatch):
    """Every test runs with the kernel and without it."""
    monkeypatch.setattr(neighbours, "kernel", request.param)


def people(num_query=30, num_gallery=220, num_people=18, dim=24, noise=1.0, seed=0):
    """Unit vectors of people seen twelve times or so, and their pids."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_people, dim))
    pids = [rng.integers(0, num_people, n) + 1 for n in (num_query, num_gallery)]
    rows = [centres[p - 1] + noise * rng.normal(size=(len(p), dim)) for p in pids]
    return *((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in rows), *pids


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (5, 1, 0.5), (3, 2, 0.0), (1, 3, 1.0), (7, 7, 0.9)])
def test_equals_the_published_algorithm(k1, k2, weight):
    query, gallery, *_ = people()
    scores = np.concatenate([query, gallery]).astype(np.float64)
    expected = slow.k_reciprocal(scores @ scores.T, len(query), k1, k2, weight)
    found = k_reciprocal(query, gallery, k1=k1, k2=k2, weight=weight).distances()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lists_longer_than_the_set_hold_everybody():
    query, gallery, *_ = people(num_query=6, num_gallery=20)
    scores = np.concatenate([query, gallery]).astype(np.float64)
    expected = slow.k_reciprocal(scores @ scores.T, len(query), 30, 40, 0.3)
    np.testing.assert_allclose(k_reciprocal(query, gallery, k1=30, k2=40).distances(), expected, atol=1e-6)


def test_euclidean_ranking_by_two_columns_is_the_published_one_too():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(120, 6)).astype(np.float32)
    half, one = (rows**2).sum(axis=1, keepdims=True) / 2, np.ones((120, 1), np.float32)
    asking, answering = np.hstack([rows, -half, one]), np.hstack([rows, one, -half])
    scores = -((rows[:, None].astype(np.float64) - rows[None]) ** 2).sum(axis=2) / 2
    expected = slow.k_reciprocal(scores, 20, 6, 3, 0.3)
    both = {"query_as_gallery": answering[:20], "gallery_as_query": asking[20:]}
    found = k_reciprocal(asking[:20], answering[20:], k1=6, k2=3, **both).distances()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_asymmetric_scores_ask_every_picture_as_a_query():
    rng = np.random.default_rng(2)
    asking, answering = rng.normal(size=(2, 90, 5)).astype(np.float32)
    answering += asking
    scores = asking.astype(np.float64) @ answering.T.astype(np.float64)
    expected = slow.k_reciprocal(scores, 30, 6, 3, 0.3)
    both = {"query_as_gallery": answering[:30], "gallery_as_query": asking[30:]}
    found = k_reciprocal(asking[:30], answering[30:], k1=6, k2=3, **both).distances()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    alone = slow.k_reciprocal(scores, 90, 6, 3, 0.3, alone=True)
    found = k_reciprocal(asking, k1=6, k2=3, query_as_gallery=answering).distances()
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_the_sparse_scores_rank_as_the_distances_do():
    query, gallery, *pids = people(num_query=60, noise=1.5)
    reranked = k_reciprocal(query, gallery)
    scores = score(reranked.similarity, None, *map(Ids, pids))
    distances = reranked.distances()
    for i, pid in enumerate(pids[0]):
        ranks = slow.ranks(-distances[i], pids[1] == pid, np.zeros(len(gallery), bool))
        assert scores.first[i] == ranks[0]
        assert scores.ap[i] == pytest.approx(np.mean([j / r for j, r in enumerate(ranks, start=1)]), abs=1e-9)
    assert scores.mAP > score(query, gallery, *map(Ids, pids)).mAP


def test_a_set_among_itself_skips_the_picture_itself():
    query, _, pids, _ = people(num_query=120)
    reranked = k_reciprocal(query)
    found = retrieve(reranked.similarity, pids)
    assert found.ap.mean() > retrieve(query, pids).ap.mean()
    np.testing.assert_allclose(reranked.distances().diagonal(), 0, atol=1e-6)


def test_query_expansion_averages_what_is_found_first():
    query, gallery, *_ = people()
    found = expand_queries(query, gallery, num=3).numpy()
    for i in range(len(query)):
        first = np.argsort(-(gallery @ query[i]))[:3]
        mean = (query[i] + gallery[first].sum(axis=0)) / 4
        np.testing.assert_allclose(found[i], mean / np.linalg.norm(mean), atol=1e-6)


def test_query_expansion_without_a_gallery_leaves_the_picture_itself_out():
    query, *_ = people()
    found = expand_queries(query, num=1).numpy()
    scores = query @ query.T - 2 * np.eye(len(query))
    mean = (query + query[scores.argmax(axis=1)]) / 2
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_expansion_of_asymmetric_scores_averages_encodings_of_one_kind():
    rng = np.random.default_rng(3)
    query, gallery, gallery_as_query = (2 * rng.normal(size=(n, 8)).astype(np.float32) for n in (10, 40, 40))
    found = expand_queries(query, gallery, num=2, gallery_as_query=gallery_as_query).numpy()
    first = np.argsort(-(query @ gallery.T), axis=1)[:, :2]
    np.testing.assert_allclose(found, (query + gallery_as_query[first].sum(axis=1)) / 3, atol=1e-5)
    augmented = augment_gallery(gallery, num=2, gallery_as_query=gallery_as_query).numpy()
    scores = gallery_as_query @ gallery.T
    np.fill_diagonal(scores, -np.inf)
    first = np.argsort(-scores, axis=1)[:, :2]
    np.testing.assert_allclose(augmented, (gallery + gallery[first].sum(axis=1)) / 3, atol=1e-5)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize(("tile", "side"), [((128, 1 << 15), 4096), ((16, 70), 64), ((9, 1), 1)])
def test_nearest_are_those_of_a_full_sort(monkeypatch, tile, side, itself, skip):
    monkeypatch.setattr(neighbours, "TILE", tile)
    monkeypatch.setattr(neighbours, "SIDE", side)
    rng = np.random.default_rng(4)
    gallery = torch.from_numpy(rng.normal(size=(150, 7)).astype(np.float32))
    query = gallery if itself else gallery[:40] * 2
    scores = query @ gallery.T
    lowest = scores.amin(dim=1)
    if skip:
        scores.fill_diagonal_(-torch.inf)
    found = neighbours.nearest(Inner(query, gallery), 2, skip_same_index=skip)
    expected = scores.sort(dim=1, descending=True)
    torch.testing.assert_close(found.scores, expected.values[:, :2])
    torch.testing.assert_close(found.lowest, lowest)
    assert torch.equal(found.columns, expected.indices[:, :2])


@pytest.mark.parametrize("num_columns", [5, 80, 333, 2000])
def test_the_best_groups_hold_the_best(num_columns):
    scores = torch.randn(30, num_columns, generator=torch.Generator().manual_seed(0))
    values, columns = neighbours.top(scores, 5)
    assert torch.equal(values, scores.topk(5).values)
    assert torch.equal(scores.gather(1, columns), values)


def test_arguments_out_of_range_are_refused():
    query, gallery, *_ = people()
    with pytest.raises(ValueError, match=r"found k1 0, k2 6, weight 0\.3"):
        k_reciprocal(query, gallery, k1=0)
    with pytest.raises(ValueError, match="found one of query_as_gallery and gallery_as_query"):
        k_reciprocal(query, gallery, query_as_gallery=query)
    with pytest.raises(ValueError, match="found 29 and 220 encodings"):
        k_reciprocal(query, gallery, query_as_gallery=query[1:], gallery_as_query=gallery)
    with pytest.raises(ValueError, match=r"found num 221; expected 1\.\.220"):
        expand_queries(query, gallery, num=221)
    with pytest.raises(ValueError, match="found 219 encodings of 220"):
        expand_queries(query, gallery, gallery_as_query=gallery[1:])


@needs_kernel
def test_the_kernel_refuses_what_it_would_misread(kernel):
    scores, first = np.zeros((2, 6), np.float32), np.array([0])
    values, columns = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64)
    best = importlib.import_module("reid.evaluation._neighbours").best
    for wrong in (
        (scores.astype(np.float64), first, values, columns),
        (scores[:1], first, values, columns),
        (scores[:, ::2], first, values, columns),
        (scores, first, values, columns.astype(np.int32)),
        (scores, first, values[:, :0], columns[:, :0]),
    ):
        with pytest.raises(ValueError, match="best: expected"):
            best(*wrong)
    with pytest.raises(TypeError, match="expected 4 arrays"):
        best(scores)
    overlaps = importlib.import_module("reid.evaluation._neighbours").overlaps
    with pytest.raises(ValueError, match="overlaps: expected"):
        overlaps(*[np.zeros(1)] * 10)
