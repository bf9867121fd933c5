"""Scores that use the gallery's own structure: k-reciprocal re-ranking, query expansion, database-side augmentation.

All of them read the whole gallery before they answer one query, so they are no measure of an encoder alone; a report says
which was used.

Scores need not be symmetric (DIMN's gallery vector is a classifier, its query vector a feature). Who is whose neighbour is
then always asked the way a search asks it: the one picture as a query, the other in the gallery. So pictures of the gallery
need a query encoding too, and where two pictures are averaged, encodings of the same kind are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor
from torch.nn import functional as F

from reid.evaluation import checks, neighbours
from reid.evaluation.blocks import slices
from reid.evaluation.neighbours import Nearest, nearest
from reid.similarity import Inner, Similarity
from reid.similarity.sparse import Sum

Embeddings = Tensor | NDArray

ROWS_AT_ONCE = 64  # queries whose overlaps with the whole gallery are added up in one array


@dataclass(frozen=True)
class Reranked:
    """Re-ranked scores, never as a (Q, G) matrix.

    similarity: what orders the gallery: the scores of the search on a scale of each query's own, and a bonus for pairs that
    share a neighbourhood. offset: (Q,) float32; offset minus the score is the published distance, in 0..1.
    """

    similarity: Sum
    offset: Tensor

    def distances(self) -> NDArray[np.float32]:
        """(Q, G) the published final distance; as large as it looks."""
        rows, columns = (slice(0, num) for num in self.similarity.shape)
        scores = self.similarity.tile(
            rows, columns, torch.empty(self.similarity.shape, device=self.offset.device, dtype=torch.float32)
        )
        return (self.offset[:, None] - scores).cpu().numpy()


def k_reciprocal(
    query: Embeddings,
    gallery: Embeddings | None = None,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    query_as_gallery: Embeddings | None = None,
    gallery_as_query: Embeddings | None = None,
) -> Reranked:
    """k-reciprocal re-ranking: pictures are close if they are among each other's nearest, and their nearest are alike.

    The original distance is 1 for the lowest score that a picture gives as a query and 0 for the highest, which for unit
    vectors, and for Euclidean ranking by two more columns, is the published one divided by its largest as published.

    Args:
        query, gallery: (Q, D), (G, D) float32 or float16; without a gallery the queries are also the gallery.
        k1, k2: how many neighbours must be mutual, and over how many neighbourhoods are averaged.
        weight: of the original distance, 0..1 (lambda in the paper).
        query_as_gallery, gallery_as_query: the same pictures encoded for the other side, where scores are asymmetric.
    Raises:
        ValueError: bad embeddings, an argument out of range, or one of the two other encodings without the other.
    Source: as `reranked`.
    """
    one, other = checks.embeddings(query, gallery)
    everybody = Inner(*_both_encodings(one, other, gallery is None, query_as_gallery, gallery_as_query))
    search = everybody if gallery is None else Inner(one, other)
    return reranked(search, everybody, k1=k1, k2=k2, weight=weight)


def reranked(search: Similarity, everybody: Similarity, *, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Reranked:
    """`k_reciprocal` of any scores.

    Args:
        search: of Q queries and G gallery pictures. everybody: of all pictures and all pictures, (Q + G, Q + G), queries
            first; or `search` itself, where the queries are also the gallery.
        k1, k2, weight: as there.
    Raises:
        ValueError: an argument out of range, or scores that are right on shortlists only.
    Source: Zhong et al. 2017, sections 3.2 to 3.5 and their published code, which takes k1 + 1 neighbours, itself among
        them. Only top lists are kept, so memory grows with Q + G and not with their product.
    """
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise ValueError(f"re-ranking: found k1 {k1}, k2 {k2}, weight {weight}; expected 1 or more, 1 or more, 0..1")
    if not everybody.one_scale:
        raise ValueError(
            "re-ranking: found scores that are re-ranked or right on shortlists only; it needs all of them"
        )
    num_query, num = search.shape[0], everybody.shape[0]
    lists = nearest(everybody, min(k1 + 1, num))
    range_ = (lists.scores[:, 0] - lists.lowest).clamp_min(1e-12)
    places = lists.columns.cpu().numpy()
    vectors = _weighted(_expanded(places, k1), everybody, lists, range_)
    if k2 > 1:
        vectors = _mean_of_neighbours(places[:, :k2], vectors)
    bonus = _overlaps(vectors[:num_query], vectors if search is everybody else vectors[num_query:])
    bonus.data *= 1 - weight
    factors = (weight / range_)[:num_query]
    offset = 1 - weight + factors * lists.scores[:num_query, 0]
    return Reranked(Sum(search.times(factors), bonus), offset)


def expand_queries(
    query: Embeddings,
    gallery: Embeddings | None = None,
    *,
    num: int = 5,
    gallery_as_query: Embeddings | None = None,
    skip_same_index: bool = False,
) -> Tensor:
    """Average query expansion: each query becomes the mean of itself and the `num` gallery pictures it finds first.

    Without a gallery the other queries are. Where scores are asymmetric, `gallery_as_query` are the gallery's pictures
    encoded as queries: what is found by gallery encodings is averaged in the query's. Normalised again if both sides are.
    skip_same_index: gallery row i is the picture of query i and is not averaged with it.

    Returns: (Q, D) float32. Source: Chum et al. 2007, average query expansion, without the spatial check.
    """
    one, other = checks.embeddings(query, gallery)
    same = other if gallery_as_query is None else checks.embeddings(gallery_as_query, other)[0]
    return _mean_with_nearest(one, other, same, num, skip_same_index or gallery is None)


def augment_gallery(gallery: Embeddings, *, num: int = 5, gallery_as_query: Embeddings | None = None) -> Tensor:
    """Database-side augmentation: each gallery picture becomes the mean of itself and the `num` others nearest to it.

    Where scores are asymmetric, neighbours are found by `gallery_as_query`, the same pictures encoded as queries, and the
    gallery encodings are averaged. Normalised again if the gallery is.

    Returns: (G, D) float32. Source: Arandjelovic and Zisserman 2012, section 4, with equal weights.
    """
    asking, answering = checks.embeddings(gallery if gallery_as_query is None else gallery_as_query, gallery)
    return _mean_with_nearest(asking, answering, answering, num, True, of=answering)


# ---- k-reciprocal, step by step; a set of pictures for every picture is a sparse matrix of ones


def _both_encodings(
    query: Tensor,
    gallery: Tensor,
    alone: bool,
    query_as_gallery: Embeddings | None,
    gallery_as_query: Embeddings | None,
) -> tuple[Tensor, Tensor]:
    """All pictures, queries first, as queries and as gallery: (Q + G, D) each, one tensor where scores are symmetric."""
    if alone and gallery_as_query is None:
        pictures = query if query_as_gallery is None else checks.embeddings(query, query_as_gallery)[1]
        return query, pictures
    if (query_as_gallery is None) != (gallery_as_query is None) or alone:
        raise ValueError(
            "re-ranking: found one of query_as_gallery and gallery_as_query; asymmetric scores need every picture in both "
            "encodings (without a gallery, query_as_gallery alone)"
        )
    if query_as_gallery is None or gallery_as_query is None:
        both = torch.cat([query.float(), gallery.float()])
        return both, both
    asked = checks.embeddings(query_as_gallery, gallery)[0]
    asking = checks.embeddings(query, gallery_as_query)[1]
    if len(asked) != len(query) or len(asking) != len(gallery):
        raise ValueError(
            f"re-ranking: found {len(asked)} and {len(asking)} encodings for the other side; "
            f"expected {len(query)} and {len(gallery)}, the same pictures"
        )
    return torch.cat([query.float(), asking.float()]), torch.cat([asked.float(), gallery.float()])


def _reciprocal(places: NDArray[np.int64]) -> csr_array:
    """(N, N): who is in my list and has me in theirs. places: (N, K), each picture's list."""
    num = len(places)
    mutual = np.empty(places.shape, dtype=bool)
    for rows in slices(num, 4096):
        mine = np.arange(rows.start, rows.stop)[:, None, None]
        mutual[rows] = (places[places[rows]] == mine).any(axis=2)  # (B, K, K) -> (B, K)
    row, slot = mutual.nonzero()
    return _ones(row, places[row, slot], num)


def _expanded(places: NDArray[np.int64], k1: int) -> csr_array:
    """(N, N): the reciprocal neighbours, and those of each neighbour of whose own more than two thirds are among mine."""
    near = _reciprocal(places)
    # np.around as published: it rounds 2.5 to 2.
    nearer = _reciprocal(places[:, : int(np.around(k1 / 2)) + 1])
    shared = (near @ nearer.T).multiply(near).tocoo()  # (i, c): how many of c's nearer are near to i
    size = nearer.sum(axis=1)
    joins = shared.data > 2 / 3 * size[shared.col]
    joined = _ones(shared.row[joins], shared.col[joins], len(places))
    members = (near + joined @ nearer).tocsr()
    members.data[:] = 1
    return members


def _weighted(members: csr_array, everybody: Similarity, lists: Nearest, range_: Tensor) -> csr_array:
    """(N, N): exp(-distance) to each member, divided by the row's sum."""
    pairs = members.tocoo()
    rows, columns = (torch.from_numpy(index.astype(np.int64)).to(everybody.device) for index in (pairs.row, pairs.col))
    scores = everybody.pairs(rows, columns)
    distance = (lists.scores[rows, 0] - scores) / range_[rows]
    weights = csr_array(((-distance).exp().cpu().numpy(), (pairs.row, pairs.col)), shape=members.shape)
    sums = weights.sum(axis=1)
    weights.data /= np.repeat(sums, np.diff(weights.indptr))
    return weights


def _mean_of_neighbours(places: NDArray[np.int64], vectors: csr_array) -> csr_array:
    """Each row becomes the mean of the rows of its first neighbours. places: (N, k2)."""
    num, k2 = places.shape
    mean = _ones(np.repeat(np.arange(num), k2), places.ravel(), num)
    mean.data /= k2
    return mean @ vectors


def _overlaps(query: csr_array, gallery: csr_array) -> csr_array:
    """(Q, G) float32, 1 - the Jaccard distance of two weighted neighbourhoods, where it is not 0.

    Rows sum to 1, so the union is 2 minus the overlap.
    """
    by_member = gallery.tocsc()
    of_block = _overlaps_of_block if neighbours.kernel is None else _compiled_overlaps_of_block
    parts = [of_block(query[rows], by_member) for rows in slices(query.shape[0], ROWS_AT_ONCE)]
    row_sizes = np.concatenate([sizes for sizes, _, _ in parts])
    columns = np.concatenate([columns for _, columns, _ in parts])
    values = np.concatenate([values for _, _, values in parts])
    starts = np.concatenate([[0], np.cumsum(row_sizes)])
    return csr_array((values, columns, starts), shape=(query.shape[0], gallery.shape[0]))


def _overlaps_of_block(query: csr_array, by_member: csc_array) -> tuple[NDArray, NDArray, NDArray]:
    """For some queries: how many columns each row has, the columns, the values."""
    num_query, num_gallery = query.shape[0], by_member.shape[0]
    entries = query.tocoo()
    first = by_member.indptr[entries.col]
    size = by_member.indptr[entries.col + 1] - first
    # Every entry of a query meets all gallery pictures that have the same member: an inverted index, flattened.
    entry = np.repeat(np.arange(len(size)), size)
    met = np.arange(len(entry)) - np.repeat(np.cumsum(size) - size, size) + first[entry]
    least = np.minimum(entries.data[entry], by_member.data[met])
    cell = entries.row[entry].astype(np.int64) * num_gallery + by_member.indices[met]
    overlap = np.bincount(cell, weights=least, minlength=num_query * num_gallery).reshape(num_query, num_gallery)
    rows, columns = overlap.nonzero()
    found = overlap[rows, columns]
    return np.bincount(rows, minlength=num_query), columns.astype(np.int32), (found / (2 - found)).astype(np.float32)


def _compiled_overlaps_of_block(query: csr_array, by_member: csc_array) -> tuple[NDArray, NDArray, NDArray]:
    """The same by the kernel in `_neighbours.c`."""
    num_query, num_gallery = query.shape[0], by_member.shape[0]
    sparse = [
        array
        for matrix in (query, by_member)
        for array in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False), matrix.data)
    ]
    sizes = np.empty(num_query, np.int64)
    columns, values = np.empty(num_query * num_gallery, np.int32), np.empty(num_query * num_gallery, np.float32)
    neighbours.kernel.overlaps(*sparse, np.zeros(num_gallery), sizes, columns, values)
    return sizes, columns[: sizes.sum()].copy(), values[: sizes.sum()].copy()


def _ones(rows: NDArray, columns: NDArray, num: int) -> csr_array:
    return csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(num, num))


# ---- means of neighbours


def _mean_with_nearest(
    asking: Tensor, answering: Tensor, averaged: Tensor, num: int, alone: bool, *, of: Tensor | None = None
) -> Tensor:
    """(Q, D): the mean of each row of `of` (`asking` if None) and those rows of `averaged` whose `answering` it finds."""
    most = len(answering) - alone
    if not 1 <= num <= most:
        raise ValueError(f"averaging with neighbours: found num {num}; expected 1..{most}, as many as there are")
    if len(averaged) != len(answering):
        raise ValueError(f"averaging with neighbours: found {len(averaged)} encodings of {len(answering)} pictures")
    own = asking if of is None else of
    columns = nearest(Inner(asking, answering), num, skip_same_index=alone).columns
    total = own.float().clone()
    for column in columns.T:  # one neighbour of everybody at a time: a (Q, num, D) tensor would be num times as large
        total += averaged[column].float()
    mean = total / (1 + num)
    return F.normalize(mean) if checks.normalised(own) and checks.normalised(averaged) else mean
