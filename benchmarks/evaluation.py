"""Scoring against what it replaces: the sort of every row, the bare product, re-ranking in full matrices, PML and faiss.

Pictures are random directions with so much noise that mAP (MAP@R) is 20 to 40%: easy data would flatter whatever looks at the
head of a list only. The bare product is the same tiles into one reused buffer by torch's own threads, and nothing else.
`market1501-rerank` runs on one thread, both sides once. Without --case everything takes about 20 minutes on two idle cores.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple
from unittest import mock

import _bench
import faiss
import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import Tensor
from torch.nn import functional as F

from reid import similarity
from reid.evaluation import blocks, counters, counting
from reid.evaluation.neighbours import nearest
from reid.evaluation.rank import Ids, Scores, retrieval, score
from reid.evaluation.rerank import k_reciprocal
from reid.similarity import Inner

DIM = 512
K1, K2, WEIGHT = 20, 6, 0.3


class Search(NamedTuple):
    """query (Q, D), gallery (G, D) unit rows; who is on them, and which camera took them."""

    query: Tensor
    gallery: Tensor
    query_ids: Ids
    gallery_ids: Ids


def people(
    num_query: int, num_gallery: int, num_people: int, num_cameras: int, num_distractors: int, noise: float
) -> Search:
    """A person search; the last `num_distractors` of the gallery are nobody (pid 0)."""
    rng = np.random.default_rng(0)
    query_pids = np.sort(rng.integers(1, num_people + 1, num_query))
    gallery_pids = np.sort(rng.integers(1, num_people + 1, num_gallery - num_distractors))
    gallery_pids = np.concatenate([gallery_pids, np.zeros(num_distractors, np.int64)])
    cameras = [rng.integers(0, num_cameras, n) for n in (num_query, num_gallery)]
    directions = torch.randn(1 + num_people, DIM, generator=torch.Generator().manual_seed(0))
    directions[0] = 0
    sides = [rows(directions, pids, noise, seed) for seed, pids in enumerate((query_pids, gallery_pids), start=1)]
    return Search(*sides, Ids(query_pids, cameras[0]), Ids(gallery_pids, cameras[1]))


def rows(directions: Tensor, classes: np.ndarray, noise: float, seed: int) -> Tensor:
    """(N, D) unit rows: the direction of each class and noise; made in parts, the largest set has 500,000."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.empty(len(classes), DIM)
    for some in blocks.slices(len(classes), 8192):
        part = made[some].normal_(generator=generator).mul_(noise).add_(directions[torch.from_numpy(classes[some])])
        F.normalize(part, out=part)
    return made


market1501 = partial(people, 3368, 19732, 750, 6, 6617, 2.6)
msmt17 = partial(people, 11659, 82161, 3060, 15, 0, 2.5)
msmt17_tenth = partial(people, 1166, 82161, 3060, 15, 0, 2.5)
distractors = partial(people, 3368, 519732, 750, 6, 506617, 2.2)


def scored(search: Search, *, kernel: bool = True) -> Scores:
    if kernel and counters.kernel is None:
        raise SystemExit("the kernel is not there: install with a compiler, or name another --case")
    with ExitStack() as patches:
        for module in () if kernel else (counters, similarity):
            patches.enter_context(mock.patch.object(module, "kernel", None))
        return score(*search)


def scored_without_ties(search: Search) -> Scores:
    """The peer knows no ties: of 60 million scores some wrong ones lie within 1e-6 below a match, and cost it a rank here."""
    with mock.patch.object(counting, "TIE", 0.0):
        return scored(search)


# ---- peers


def bare_product(search: Search) -> None:
    """Every tile of the scores, into one buffer, and nothing done with it."""
    inner, buffer = Inner(search.query, search.gallery), torch.empty(counting.TILE)
    for above in blocks.slices(len(search.query), counting.TILE[0]):
        for left in blocks.slices(len(search.gallery), counting.TILE[1]):
            inner.tile(above, left, buffer)


def sorted_rows(search: Search) -> tuple[float, float, float]:
    """Rank-1, mAP, mINP in the usual form: the whole matrix of scores, each row sorted, vectorised from there."""
    scores = search.query.numpy() @ search.gallery.numpy().T
    order = np.argsort(-scores, axis=1)
    same = np.asarray(search.gallery_ids.pids)[order] == np.asarray(search.query_ids.pids)[:, None]
    junk = same & (np.asarray(search.gallery_ids.camids)[order] == np.asarray(search.query_ids.camids)[:, None])
    match = same & ~junk
    place = np.cumsum(~junk, axis=1, dtype=np.int32)
    number = np.cumsum(match, axis=1, dtype=np.int32)
    valid = match.any(axis=1)
    average = np.where(match, number / np.maximum(place, 1), 0).sum(axis=1)[valid] / number[valid, -1]
    last = np.where(match, place, 0).max(axis=1)[valid]
    first = np.where(match, place, len(search.gallery)).min(axis=1)[valid]
    return (first == 1).mean(), average.mean(), (number[valid, -1] / last).mean()


def full_rerank(query: Tensor, gallery: Tensor) -> np.ndarray:
    """k-reciprocal re-ranking as published, in N x N matrices and a loop over pictures (Zhong et al. 2017)."""
    everybody = torch.cat([query, gallery])
    original = (2 - 2 * everybody @ everybody.T).numpy()
    original = np.transpose(original / original.max(axis=0))  # turned over as published: the sort takes longer so
    order = np.argsort(original, axis=1).astype(np.int32)
    num, num_query, half = len(original), len(query), int(np.around(K1 / 2))

    def reciprocal(i: int, k: int) -> np.ndarray:
        forward = order[i, : k + 1]
        return forward[(order[forward, : k + 1] == i).any(axis=1)]

    vectors = np.zeros_like(original)
    for i in range(num):
        mine = reciprocal(i, K1)
        members = mine
        for candidate in mine:
            theirs = reciprocal(candidate, half)
            if len(np.intersect1d(theirs, mine)) > 2 / 3 * len(theirs):
                members = np.append(members, theirs)
        members = np.unique(members)
        weights = np.exp(-original[i, members])
        vectors[i, members] = weights / weights.sum()
    original = original[:num_query, num_query:].copy()
    mean = np.zeros_like(vectors)
    for i in range(num):
        mean[i] = vectors[order[i, :K2]].mean(axis=0)
    del vectors
    having = [np.flatnonzero(column) for column in mean.T]
    for i in range(num_query):
        overlap = np.zeros(num, np.float32)
        for member in np.flatnonzero(mean[i]):
            others = having[member]
            overlap[others] += np.minimum(mean[i, member], mean[others, member])
        overlap = overlap[num_query:]
        original[i] = WEIGHT * original[i] + (1 - WEIGHT) * (1 - overlap / (2 - overlap))
    return original


# ---- cases


def against_sort(make: Callable[[], Search]) -> tuple[Callable, Callable]:
    search = make()
    return partial(scored_without_ties, search), partial(sorted_rows, search)


def same_scores(ours: Scores, peer: tuple[float, float, float]) -> bool:
    return bool(np.allclose([ours.cmc[0], ours.mAP, ours.mINP], peer, atol=1e-6))


def against_product(make: Callable[[], Search], *, kernel: bool = True) -> tuple[Callable, Callable]:
    search = make()
    return partial(scored, search, kernel=kernel), partial(bare_product, search)


def against_full_rerank() -> tuple[Callable, Callable]:
    search = without_near_ties(market1501())
    return tuple(on_one_thread(partial(f, search.query, search.gallery)) for f in (k_reciprocal, full_rerank))


def without_near_ties(search: Search) -> Search:
    """The same, less the pictures in whose list rounding decides who is among the first 6, 11 or 21."""
    query, gallery = search.query, search.gallery
    while True:
        both = torch.cat([query, gallery])
        scores = nearest(Inner(both, both), K1 + 2).scores
        ends = torch.tensor([K2, K1 // 2 + 1, K1 + 1])
        clear = (scores[:, ends - 1] - scores[:, ends] > 2e-6).all(dim=1)
        if clear.all():
            return search._replace(query=query, gallery=gallery)
        query, gallery = query[clear[: len(query)]], gallery[clear[len(query) :]]


def on_one_thread(function: Callable) -> Callable:
    def call() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function()
        finally:
            torch.set_num_threads(before)

    return call


def same_distances(ours, peer: np.ndarray) -> bool:
    return bool(abs(ours.distances() - peer).max() <= 1e-6)


def products() -> tuple[Tensor, np.ndarray]:
    """Stanford Online Products' test half: 60,502 pictures of 11,316 classes."""
    rng = np.random.default_rng(0)
    twice = np.repeat(np.arange(11316), 2)
    classes = np.sort(np.concatenate([twice, rng.integers(0, 11316, 60502 - len(twice))]))
    directions = torch.randn(11316, DIM, generator=torch.Generator().manual_seed(0))
    return rows(directions, classes, 2.8, seed=1), classes


def against_pml() -> tuple[Callable, Callable]:
    pictures, classes = products()
    metrics = ("precision_at_1", "mean_average_precision_at_r", "r_precision")
    peer = AccuracyCalculator(include=metrics, k="max_bin_count", device=torch.device("cpu"))
    return partial(retrieval, pictures, classes), partial(peer.get_accuracy, pictures, torch.from_numpy(classes))


def same_retrieval(ours: dict[str, float], peer: dict[str, float]) -> bool:
    names = {"R@1": "precision_at_1", "MAP@R": "mean_average_precision_at_r", "RP": "r_precision"}
    return all(abs(ours[name] - peer[of_peer]) < 2e-5 for name, of_peer in names.items())


def against_faiss() -> tuple[Callable, Callable]:
    pictures, classes = products()

    def first_ten() -> np.ndarray:
        index = faiss.IndexFlatIP(DIM)
        index.add(pictures.numpy())
        return index.search(pictures.numpy(), 10)[1]

    return partial(retrieval, pictures, classes), first_ten


PRODUCT, SORT = "bare product", "argsort of each row"
CASES = [
    _bench.Case("market1501", SORT, partial(against_sort, market1501), same_scores, 3),
    _bench.Case("market1501-kernel", PRODUCT, partial(against_product, market1501), None, 7),
    _bench.Case("market1501-no-kernel", PRODUCT, partial(against_product, market1501, kernel=False), None, 7),
    _bench.Case("msmt17-tenth", SORT, partial(against_sort, msmt17_tenth), same_scores, 3),
    _bench.Case("msmt17-kernel", PRODUCT, partial(against_product, msmt17), None, 3),
    _bench.Case("msmt17-no-kernel", PRODUCT, partial(against_product, msmt17, kernel=False), None, 3),
    _bench.Case("distractors", PRODUCT, partial(against_product, distractors), None, 1),
    _bench.Case("market1501-rerank", "full matrices, numpy", against_full_rerank, same_distances, 0),
    _bench.Case("sop", "pytorch-metric-learning", against_pml, same_retrieval, 1),
    _bench.Case("sop-first-ten", "faiss, search alone", against_faiss, None, 1),
]

if __name__ == "__main__":
    _bench.main(CASES, __doc__)
