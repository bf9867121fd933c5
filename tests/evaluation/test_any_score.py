"""Scores that are no inner product are ranked as exactly: by a table of scores, against the slow loops."""

import numpy as np
import pytest
import slow
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid.evaluation import counting, neighbours, rerank
from reid.evaluation.rank import Ids, retrieval, score
from reid.evaluation.verification import tpr_at_fpr
from reid.similarity import Inner
from reid.similarity.matched import Matched, Rescored

TILES = [(1, 1), (2, 3), (7, 5), (1024, 4096)]


def by_table(table, symmetric=False):
    """A matcher whose score of query i and gallery picture j is table[i, j]: a row is a picture's number."""
    scores = torch.from_numpy(table).float()
    query, gallery = (torch.arange(num)[:, None].float() for num in table.shape)
    return Matched(
        lambda one, other: scores[one[:, 0].long()][:, other[:, 0].long()],
        query,
        query if symmetric else gallery,
        symmetric=symmetric,
        pairs_at_once=12,
    )


@st.composite
def problems(draw):
    """Tables full of ties, with junk, distractors and lone pictures."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_query, num_gallery = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    spread, cameras = draw(st.sampled_from([1, 3, 1000])), draw(st.sampled_from([None, 1, 3]))
    table = rng.integers(-spread, spread + 1, (num_query, num_gallery)) / 4
    pids = [rng.integers(0, 5, n) for n in table.shape]
    camids = [None if cameras is None else rng.integers(0, cameras, n) for n in table.shape]
    return table, *pids, *camids


@given(problems(), st.sampled_from(TILES), st.sampled_from([None, 1, 4, 30]))
@settings(max_examples=200, deadline=None)
def test_a_person_search_equals_the_slow_loops(problem, tile, first):
    table, query_pids, gallery_pids, query_camids, gallery_camids = problem
    found = by_table(table)
    if first:  # a shortlist of a base that knows a little of it
        found = Rescored(by_table(np.round(table / 100)), found, first)
        rows, columns = (slice(0, num) for num in found.shape)
        table = found.tile(rows, columns, torch.empty(found.shape)).double().numpy()
    expected = slow.searches(table, query_pids, gallery_pids, query_camids, gallery_camids)
    assume(any(expected))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", tile)
        ids = Ids(query_pids, query_camids), Ids(gallery_pids, gallery_camids)
        scores = score(found, None, *ids, max_rank=20)
    cmc, mean_ap, mean_inp, num_valid = slow.figures(expected, max_rank=20)
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-12)
    assert (scores.mAP, scores.mINP) == pytest.approx((mean_ap, mean_inp), abs=1e-12)
    assert scores.num_valid == num_valid


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("tile", TILES)
def test_a_set_among_itself_equals_the_slow_loops(monkeypatch, tile, symmetric, threads):
    monkeypatch.setattr(counting, "TILE", tile)
    rng = np.random.default_rng(0)
    table = rng.integers(-9, 10, (40, 40)) / 4
    table = table + table.T if symmetric else table
    classes = rng.integers(1, 9, 40)
    expected = slow.searches(table, classes, classes, skip_same_index=True)
    torch.set_num_threads(threads)
    try:
        found = retrieval(by_table(table, symmetric), classes, ks=(1, 5))
    finally:
        torch.set_num_threads(1)
    assert found == pytest.approx(slow.retrieval(expected, (1, 5)), abs=1e-12)


def test_one_tensor_under_other_classes_is_counted_a_side_at_a_time(monkeypatch):
    monkeypatch.setattr(counting, "TILE", (8, 8))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 5)).astype(np.float32)
    ids = Ids(rng.integers(1, 6, 40)), Ids(rng.integers(1, 6, 40))
    assert score(rows, rows, *ids).ap.tolist() == score(rows, rows.copy(), *ids).ap.tolist()


def test_verification_equals_the_one_of_inner_products():
    rng = np.random.default_rng(1)
    query, gallery = (2.0 * rng.integers(-3, 4, (n, 3)).astype(np.float32) for n in (9, 21))
    ids = Ids(rng.integers(0, 4, 9)), Ids(rng.integers(0, 5, 21))
    fprs = (0, 0.01, 0.1, 0.5, 1)
    found = tpr_at_fpr(by_table(query @ gallery.T), None, *ids, fprs=fprs)
    np.testing.assert_array_equal(found, tpr_at_fpr(query, gallery, *ids, fprs=fprs))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_reranking_equals_the_published_algorithm(monkeypatch, symmetric, alone):
    monkeypatch.setattr(neighbours, "SIDE", 16)
    rng = np.random.default_rng(2)
    table = rng.normal(size=(60, 60)) + 2 * np.eye(60)
    table = (table + table.T if symmetric else table).astype(np.float32).astype(np.float64)
    everybody = by_table(table, symmetric)
    search = everybody if alone else by_table(table[:20, 20:])
    found = rerank.reranked(search, everybody, k1=6, k2=3)
    expected = slow.k_reciprocal(table, 60 if alone else 20, 6, 3, 0.3, alone=alone)
    np.testing.assert_allclose(found.distances(), expected, atol=1e-6)
    pids = rng.integers(1, 6, 60)
    sides = (pids, pids) if alone else (pids[:20], pids[20:])
    ranks = slow.searches(-expected, *sides, skip_same_index=alone)
    scores = score(found.similarity, None, Ids(pids)) if alone else score(found.similarity, None, *map(Ids, sides))
    assert scores.mAP == pytest.approx(slow.figures(ranks)[1], abs=1e-9)


def test_what_needs_all_scores_on_one_scale_refuses_others():
    table = np.random.default_rng(3).normal(size=(12, 12))
    ids = Ids(np.arange(12) % 4 + 1)
    plain = by_table(table)
    shortlists, reranked = Rescored(plain, plain, 3), rerank.reranked(plain, plain, k1=3).similarity
    for found in (shortlists, reranked):
        with pytest.raises(ValueError, match="cannot be compared between queries"):
            tpr_at_fpr(found, None, ids)
        with pytest.raises(ValueError, match="re-ranking: found scores that are re-ranked or right on shortlists only"):
            rerank.reranked(found, found, k1=3)
    exact = Rescored(plain, plain, 12)
    assert tpr_at_fpr(exact, None, ids).tolist() == tpr_at_fpr(plain, None, ids).tolist()
    rerank.reranked(exact, exact, k1=3)


def test_a_similarity_has_both_sides():
    rows = np.eye(3, 2, dtype=np.float32)
    found = by_table(np.ones((2, 3)))
    with pytest.raises(ValueError, match="a gallery beside a similarity"):
        score(found, rows, Ids([1, 2]), Ids([1, 2, 3]))
    with pytest.raises(ValueError, match="2 queries and 3 gallery pictures; say who is on the gallery's too"):
        score(found, None, Ids([1, 2]))
    with pytest.raises(ValueError, match=r"gallery pids of shape \(2,\); expected \(3,\)"):
        score(found, None, Ids([1, 2]), Ids([1, 2]))
    with pytest.raises(ValueError, match="NaN or infinite values in 1 query embeddings"):
        score(Inner(torch.full((1, 2), torch.nan), torch.ones(3, 2)), None, Ids([1]), Ids([1, 2, 3]))
    with pytest.raises(ValueError, match="expected a tensor or an array"):
        rerank.expand_queries(found, rows)
    with pytest.raises(ValueError, match="expected a tensor or an array"):
        rerank.augment_gallery(found)
