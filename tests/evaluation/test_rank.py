"""Person search against slow loops in float64, at every tile shape, and the input it refuses."""

import logging

import numpy as np
import pytest
import slow
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid import similarity
from reid.data.records import Sample
from reid.evaluation import counters, counting
from reid.evaluation.rank import Ids, score

TILES = [(1, 1), (2, 3), (7, 5), (1024, 4096)]


@st.composite
def problems(draw):
    """Small searches full of trouble: ties and duplicates (few distinct whole numbers), junk, distractors, lone pictures."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_query, num_gallery = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    dim, spread = draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 50]))
    scale = 2  # no row of length 1, or a zero row among those would be refused as a broken cosine
    ids, cameras = draw(st.integers(1, 6)), draw(st.sampled_from([None, 1, 2, 4]))
    query, gallery = (scale * rng.integers(-spread, spread + 1, (n, dim)) for n in (num_query, num_gallery))
    pids = [rng.integers(0, ids + 1, n) for n in (num_query, num_gallery)]
    camids = [None if cameras is None else rng.integers(1, cameras + 1, n) for n in (num_query, num_gallery)]
    return query.astype(np.float32), gallery.astype(np.float32), *pids, *camids


def without_kernels(patch):
    patch.setattr(counters, "kernel", None)
    patch.setattr(similarity, "kernel", None)


def expected(query, gallery, query_pids, gallery_pids, query_camids, gallery_camids):
    return slow.person_search(query, gallery, query_pids, gallery_pids, query_camids, gallery_camids)


@given(problems(), st.sampled_from(TILES), st.sampled_from(["float32", "float16"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_equals_the_slow_loops_on_any_search(problem, tile, dtype, kernels):
    query, gallery, query_pids, gallery_pids, query_camids, gallery_camids = problem
    found = expected(*problem)
    assume(any(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", tile)
        if not kernels:
            without_kernels(patch)
        ids = Ids(query_pids, query_camids), Ids(gallery_pids, gallery_camids)
        scores = score(query.astype(dtype), gallery.astype(dtype), *ids, max_rank=20)
    cmc, mean_ap, mean_inp, num_valid = slow.figures(found, max_rank=20)
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-12)
    assert scores.mAP == pytest.approx(mean_ap, abs=1e-12)
    assert scores.mINP == pytest.approx(mean_inp, abs=1e-12)
    assert (scores.num_query, scores.num_valid) == (len(query), num_valid)
    assert scores.first.tolist() == [r[0] if r else 0 for r in found]


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_slow_loops_on_cosines(seed):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(9, 16))
    pids = rng.integers(0, 9, 30), rng.integers(0, 9, 200)
    camids = rng.integers(0, 3, 30), rng.integers(0, 3, 200)
    query, gallery = (centres[p] + rng.normal(size=(len(p), 16)) for p in pids)
    query, gallery = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (query, gallery))
    scores = score(torch.from_numpy(query), torch.from_numpy(gallery), *map(Ids, pids, camids))
    cmc, mean_ap, mean_inp, num_valid = slow.figures(slow.person_search(query, gallery, *pids, *camids))
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-9)
    assert (scores.mAP, scores.mINP) == pytest.approx((mean_ap, mean_inp), abs=1e-6)
    assert scores.num_valid == num_valid
    assert not scores.collapsed


def test_figures_do_not_depend_on_the_tile(monkeypatch):
    rng = np.random.default_rng(0)
    query, gallery = (rng.integers(-9, 10, (n, 8)).astype(np.float32) for n in (60, 300))
    ids = Ids(rng.integers(1, 9, 60), rng.integers(0, 3, 60)), Ids(rng.integers(0, 9, 300), rng.integers(0, 3, 300))
    found = []
    for tile in [(1, 300), (7, 11), (60, 1), (64, 4096)]:
        monkeypatch.setattr(counting, "TILE", tile)
        scores = score(query, gallery, *ids)
        found.append((scores.mAP, scores.mINP, *scores.cmc, *scores.ap))
    assert found.count(found[0]) == len(found)  # bit for bit: whole numbers have exact products


def test_an_enormous_class_is_scored_in_smaller_blocks(monkeypatch):
    query, gallery = np.eye(6, dtype=np.float32), np.repeat(np.eye(6, dtype=np.float32), 5, axis=0)
    ids = Ids([1] * 6), Ids([1] * 29 + [2])
    whole = score(query, gallery, *ids)
    monkeypatch.setattr(counting, "MAX_CELLS", 40)
    assert score(query, gallery, *ids).ap.tolist() == whole.ap.tolist()


@pytest.mark.parametrize("alone", [True, False])
def test_every_counter_comes_to_the_same_figures(monkeypatch, alone):
    rng = np.random.default_rng(1)
    rows = rng.integers(-3, 4, (300, 4)).astype(np.float32)
    ids = Ids(rng.integers(1, 40, 300))
    found = []
    for name in ("compiled", "sorting", "comparing"):
        if name == "compiled" and counters.kernel is None:
            continue
        monkeypatch.setattr(counters, "choose", lambda device, num_thresholds, name=name: getattr(counters, name))
        scores = score(rows, None, ids) if alone else score(rows, rows.copy(), ids, ids)
        found.append((*scores.ap, scores.tied))
    assert found.count(found[0]) == len(found)


def test_a_gpu_gets_tiles_that_fit_its_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 8 << 30))
    rows, columns = counting.tile_for(torch.device("cuda"))
    assert 4 * rows * columns <= 1 << 28
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (139 << 30, 139 << 30))
    rows, columns = counting.tile_for(torch.device("cuda"))
    assert 4 * rows * columns == 1 << 30


def test_arrays_that_must_not_be_written_to_are_read(tmp_path):
    query, gallery, *ids = good()
    np.save(tmp_path / "rows.npy", 2 * gallery)
    scores = score(query, np.load(tmp_path / "rows.npy", mmap_mode="r"), *ids)
    assert scores.ap.tolist() == score(query, 2 * gallery, *ids).ap.tolist()


def test_without_the_kernel_the_figures_are_the_same(monkeypatch):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(200, 16)).astype(np.float32)
    ids = Ids(rng.integers(1, 40, 200), rng.integers(0, 3, 200))
    with_kernel = score(rows[:50], rows, Ids(ids.pids[:50], ids.camids[:50] + 1), ids)
    without_kernels(monkeypatch)
    without = score(rows[:50], rows, Ids(ids.pids[:50], ids.camids[:50] + 1), ids)
    assert with_kernel.ap.tolist() == without.ap.tolist()


def test_several_threads_come_to_the_same_figures():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(700, 16)).astype(np.float32)
    ids = Ids(rng.integers(1, 100, 700))
    one = score(rows, None, ids), score(rows, rows.copy(), ids, ids)
    torch.set_num_threads(3)
    try:
        three = score(rows, None, ids), score(rows, rows.copy(), ids, ids)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert [scores.ap.tolist() for scores in one] == [scores.ap.tolist() for scores in three]


def test_junk_never_counts():
    query = np.array([[1, 0]], np.float32)
    gallery = np.array([[1, 0], [0.9, 0], [0.8, 0], [0.7, 0]], np.float32)  # junk, junk, wrong, match
    scores = score(query, gallery, Ids([1], [1]), Ids([1, 1, 2, 1], [1, 1, 1, 2]))
    assert scores.first.tolist() == [2]
    without_cameras = score(query, gallery, Ids([1]), Ids([1, 1, 2, 1]))
    assert without_cameras.first.tolist() == [1]


def test_distractors_match_nobody_and_are_never_junk():
    query = np.array([[1, 0], [1, 0]], np.float32)
    gallery = np.array([[1, 0], [0.5, 0]], np.float32)
    scores = score(query, gallery, Ids([0, 1], [1, 1]), Ids([0, 1], [1, 2]))
    assert scores.num_valid == 1
    assert scores.first.tolist() == [0, 2]


def test_average_precision_of_one_match_at_rank_k_is_one_over_k():
    gallery = np.array([[5], [4], [3], [2]], np.float32)
    scores = score(np.ones((1, 1), np.float32), gallery, Ids([1]), Ids([2, 3, 1, 4]))
    assert scores.mAP == pytest.approx(1 / 3)
    assert scores.cmc[:4].tolist() == [0, 0, 1, 1]


def test_scores_within_a_millionth_are_ties_and_ties_count_against_the_query():
    query = np.ones((1, 1), np.float32)
    near, apart = np.float32(1 - 8e-7), np.float32(1 - 4e-6)
    assert score(query, np.array([[1], [near]], np.float32), Ids([1]), Ids([1, 2])).first.tolist() == [2]
    assert score(query, np.array([[1], [apart]], np.float32), Ids([1]), Ids([1, 2])).first.tolist() == [1]
    assert score(query, np.array([[near], [1]], np.float32), Ids([1]), Ids([1, 2])).tied == 1
    assert score(query, np.array([[1], [near]], np.float32), Ids([1]), Ids([1, 1])).mAP == 1


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("factor", [1e-2, 1e-4, 1e-7, 2**-40])
def test_shorter_rows_are_ranked_as_unit_rows_are(factor, alone):
    """Ties are those of the unit rows: no ranking is lost where all scores lie below 1e-6, and none is won."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    rows[60:70] = rows[50:60] + np.float32(1e-8)  # ties
    pids = np.arange(120) % 30 + 1
    found = [
        score(side[:40], None if alone else side[40:], Ids(pids[:40]), None if alone else Ids(pids[40:]))
        for side in (rows, rows * np.float32(factor))
    ]
    assert found[0].first.tolist() == found[1].first.tolist()
    assert found[0].mAP == found[1].mAP < 1
    np.testing.assert_array_equal(found[0].searches.tied, found[1].searches.tied)


@pytest.mark.parametrize("scale", [1.0, 37.0, 1e-4])
def test_a_collapsed_model_scores_no_better_than_chance_and_is_flagged(scale, caplog):
    rng = np.random.default_rng(0)
    vector = rng.normal(size=512)
    rows = np.tile(scale * vector / np.linalg.norm(vector), (500, 1)).astype(np.float32)
    pids = np.arange(500) % 50 + 1
    with caplog.at_level(logging.WARNING):
        scores = score(rows[:100], rows, Ids(pids[:100], [1] * 100), Ids(pids, [2] * 500))
    assert scores.collapsed
    assert scores.tied == 1
    assert scores.cmc[0] == 0
    assert scores.mAP < 10 / 500
    assert "collapsed" in caplog.text


def test_two_columns_turn_euclidean_distance_into_an_inner_product():
    rng = np.random.default_rng(3)
    query, gallery = (rng.integers(-5, 6, (n, 6)).astype(np.float32) for n in (40, 160))
    pids = rng.integers(1, 9, 40), rng.integers(1, 9, 160)
    half_query, half_gallery = ((x**2).sum(axis=1, keepdims=True) / 2 for x in (query, gallery))
    ones = np.ones_like
    wide = np.hstack([query, -half_query, ones(half_query)]), np.hstack([gallery, ones(half_gallery), -half_gallery])
    minus_distance = -((query[:, None] - gallery[None]) ** 2).sum(axis=2) / 2
    found = [
        slow.ranks(minus_distance[i], pids[1] == pid, np.zeros(len(gallery), bool)) for i, pid in enumerate(pids[0])
    ]
    cmc, mean_ap, mean_inp, _ = slow.figures(found)
    scores = score(*wide, *map(Ids, pids))
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-12)
    assert (scores.mAP, scores.mINP) == pytest.approx((mean_ap, mean_inp), abs=1e-12)


def test_without_a_gallery_each_query_searches_the_others():
    rows = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    scores = score(rows, None, Ids([1, 1, 2, 3], [1, 2, 1, 1]))
    assert scores.num_valid == 2
    assert scores.mAP == 1
    again = score(rows, rows.copy(), Ids([1, 1, 2, 3]), Ids([1, 1, 2, 3]), skip_same_index=True)
    assert again.mAP == 1


def test_ids_of_samples():
    samples = [Sample("a", 3, 1), Sample("b", 4, 2)]
    assert [list(column) for column in Ids.of(samples)] == [[3, 4], [1, 2]]
    assert Ids.of([Sample("a", 3, None)]).camids is None
    with pytest.raises(ValueError, match="1 of 2 samples have no camid"):
        Ids.of([Sample("a", 3, None), Sample("b", 3, 1)])


def good():
    return (
        np.eye(3, dtype=np.float32),
        np.eye(4, 3, dtype=np.float32),
        Ids([1, 2, 3], [1] * 3),
        Ids([1, 2, 3, 1], [2] * 4),
    )


def refused(message, *arguments, **options):
    with pytest.raises(ValueError, match=message):
        score(*arguments, **options)


def test_embeddings_that_are_not_finite_are_refused_with_their_rows():
    query, gallery, *ids = good()
    query[1, 0] = np.nan
    refused("NaN or infinite values in 1 query embeddings, rows 1", query, gallery, *ids)
    query, gallery, *ids = good()
    gallery[[0, 3], 2] = np.inf
    refused("2 gallery embeddings, rows 0, 3", query, gallery, *ids)
    refused("2 gallery embeddings, rows 0, 3", query, gallery.astype(np.float16), *ids)


def test_embeddings_too_long_for_float32_are_refused():
    query, gallery, *ids = good()
    refused("normalise them", query * 1e20, gallery * 1e20, *ids)
    refused("normalise them", query * 1e30, gallery * 2, *ids)


def test_wrong_shapes_and_types_are_refused():
    query, gallery, *ids = good()
    refused("same number of columns", query, gallery[:, :2], *ids)
    refused("expected \\(N, D\\)", query[0], gallery, *ids)
    refused("expected float32 or float16", query.astype(np.float64), gallery, *ids)
    refused("expected a tensor or an array", query, gallery.tolist(), *ids)
    refused("gallery embeddings of shape \\(0, 3\\)", query, gallery[:0], ids[0], Ids([], []))
    refused("max_rank 0", query, gallery, *ids, max_rank=0)


def test_ids_that_do_not_fit_are_refused():
    query, gallery, query_ids, gallery_ids = good()
    gallery *= 2
    refused("query pids of shape \\(2,\\); expected \\(3,\\)", query, gallery, Ids([1, 2]), gallery_ids)
    refused("gallery camids of shape \\(3,\\)", query, gallery, query_ids, Ids([1, 2, 3, 1], [2] * 3))
    refused("whole numbers", query, gallery, Ids([1.0, 2.0, 3.0], [1] * 3), gallery_ids)
    refused("below 0", query, gallery, query_ids, Ids([1, 2, 3, -1], [2] * 4))
    refused("one side only", query, gallery, Ids([1, 2, 3]), gallery_ids)
    refused("only one of the gallery and who is on it", query, gallery, query_ids)
    refused("only one of the gallery and who is on it", query, None, query_ids, query_ids)
    refused("skip_same_index needs one list", query, gallery, query_ids, gallery_ids, skip_same_index=True)


def test_a_zero_row_among_cosines_is_refused_and_allowed_elsewhere():
    query, gallery, *ids = good()
    refused("1 gallery embeddings of length zero, rows 3", query, gallery, *ids)
    gallery *= 2
    assert score(query, gallery, *ids).num_valid == 3


def test_no_query_with_a_match_is_explained():
    query, gallery = np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32)
    refused("none of 2 queries .* no identity is on both sides", query, gallery, Ids([1, 2]), Ids([3, 4]))
    refused(r"single camera.*camids None", query, gallery, Ids([1, 2], [1, 1]), Ids([1, 2], [1, 1]))
    refused("check the camids", query, gallery, Ids([1, 2], [1, 2]), Ids([1, 2], [1, 2]))
    refused("needs two pictures", query, None, Ids([1, 2]))
    refused("no identity is on both sides", query, gallery, Ids([0, 0]), Ids([0, 0]))
