"""From embeddings to figures: CMC, mAP and mINP for people, R@K, MAP@R and R-Precision for any classes.

A score is the inner product of two rows, or what a `Similarity` says. The tie rule, the junk rule and the definition of AP are
in `docs/evaluation.md`; they hold for everything here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from reid.evaluation import checks, ids
from reid.evaluation.counting import Ranks, match_ranks
from reid.evaluation.ids import Ids
from reid.evaluation.relevance import Relevance
from reid.similarity import Similarity

logger = logging.getLogger(__name__)

COLLAPSED = 0.5  # share of tied queries from which a model no longer tells its pictures apart

Floats = NDArray[np.float64]
Embeddings = Tensor | NDArray


@dataclass(frozen=True)
class Searches:
    """What came of each query: arrays (Q,), from which every figure and its interval follow.

    num_matches: int64, 0 for a query that has none and is left out of all means. first, last: int64, the 1-based rank of
    the first and the last match, 0 where none. ap, inp, map_at_r, r_precision: float64, 0 where none. tied: bool, a wrong
    picture scores within 1e-6 of the best match.
    """

    num_matches: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    ap: Floats
    map_at_r: Floats
    r_precision: Floats
    tied: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(Q,) the queries that have a match."""
        return self.num_matches > 0

    @property
    def inp(self) -> Floats:
        """(Q,) inverse negative penalty: matches over the rank of the last one. Source: Ye et al. 2021, eq. 4."""
        return self.num_matches / np.maximum(self.last, 1)

    @property
    def tied_fraction(self) -> float:
        """The share of valid queries that are tied."""
        return float(self.tied[self.valid].mean())

    @property
    def collapsed(self) -> bool:
        """More than half of the queries are tied: the model gives most pictures one vector."""
        return self.tied_fraction > COLLAPSED

    def hit(self, k: int) -> NDArray[np.bool_]:
        """(Q,) whether a match is among the first k."""
        return self.valid & (self.first <= k)


@dataclass(frozen=True)
class Scores:
    """The figures of one person search, as fractions, over the `num_valid` queries that have a match.

    cmc: (max_rank,) float64; cmc[k - 1] is Rank-k, constant past the end of the gallery. searches: what came of each query.
    tied: the share of valid queries whose best match ties with a wrong picture. collapsed: more than half are tied.
    """

    cmc: Floats
    mAP: float
    mINP: float
    num_query: int
    num_valid: int
    tied: float
    collapsed: bool
    searches: Searches

    @property
    def ap(self) -> Floats:
        """(Q,) average precision of each query, 0 for those left out."""
        return self.searches.ap

    @property
    def first(self) -> NDArray[np.int64]:
        """(Q,) 1-based rank of each query's first match, 0 for those left out."""
        return self.searches.first


def score(
    query: Embeddings | Similarity,
    gallery: Embeddings | None,
    query_ids: Ids,
    gallery_ids: Ids | None = None,
    *,
    max_rank: int = 50,
    skip_same_index: bool = False,
) -> Scores:
    """Scores a person search: gallery pictures of the query's person and camera are junk and never counted.

    Args:
        query, gallery: (Q, D), (G, D) float32 or float16, numpy or torch, on one device. Without a gallery each query
            searches the other queries. Or a `Similarity` as the query, which has both sides: no gallery beside it.
        query_ids, gallery_ids: their pids and camids. pid 0 in the gallery is a distractor: wrong for everybody.
        max_rank: the depth of the CMC curve.
        skip_same_index: gallery row i is the picture of query i and does not count for it; for two encodings of one set.
    Raises:
        ValueError: bad embeddings (see `checks.embeddings`), ids of another length or sign, or no query with a match.
    """
    if max_rank < 1:
        raise ValueError(f"scoring: found max_rank {max_rank}; expected 1 or more")
    similarity = checks.similarity(query, gallery, named=gallery_ids is not None)
    searches = _search(similarity, ids.relevance(similarity.shape, query_ids, gallery_ids, skip_same_index))
    valid = searches.valid
    num_first = np.bincount(searches.first[valid & (searches.first <= max_rank)], minlength=max_rank + 1)[1:]
    return Scores(
        cmc=np.cumsum(num_first) / valid.sum(),
        mAP=float(searches.ap[valid].mean()),
        mINP=float(searches.inp[valid].mean()),
        num_query=len(valid),
        num_valid=int(valid.sum()),
        tied=searches.tied_fraction,
        collapsed=searches.collapsed,
        searches=searches,
    )


def retrieval(
    query: Embeddings | Similarity,
    query_classes: ArrayLike | Tensor,
    gallery: Embeddings | None = None,
    gallery_classes: ArrayLike | Tensor | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
    *,
    skip_same_index: bool = False,
) -> dict[str, float]:
    """Scores a search for pictures of the same class: `R@K` for each K, `MAP@R`, `RP` and `MRR`, as fractions.

    R@K: a match is among the first K. RP: the share of matches among the first R, R being the query's number of matches.
    MAP@R: the mean over the first R places of the precision at each match there. MRR: one over the rank of the first match.
    Without a gallery each picture searches the rest, itself excluded by index. `retrieve` gives the same per query.

    Source: Musgrave et al. 2020 (A Metric Learning Reality Check), section 3; ties count against the query.
    """
    searches = retrieve(query, query_classes, gallery, gallery_classes, skip_same_index=skip_same_index)
    return summary(searches, ks)


def summary(searches: Searches, ks: Sequence[int] = (1, 2, 4, 8)) -> dict[str, float]:
    """The means of `retrieval` over the queries that have a match."""
    valid = searches.valid
    means = {f"R@{k}": float(searches.hit(k)[valid].mean()) for k in ks}
    means["MAP@R"] = float(searches.map_at_r[valid].mean())
    means["RP"] = float(searches.r_precision[valid].mean())
    means["MRR"] = float((1 / searches.first[valid]).mean())
    return means


def retrieve(
    query: Embeddings | Similarity,
    query_classes: ArrayLike | Tensor,
    gallery: Embeddings | None = None,
    gallery_classes: ArrayLike | Tensor | None = None,
    *,
    skip_same_index: bool = False,
) -> Searches:
    """What came of each query of `retrieval`; arguments as there."""
    similarity = checks.similarity(query, gallery, named=gallery_classes is not None)
    classes = checks.integers(query_classes, similarity.shape[0], "query classes")
    if gallery_classes is None:
        return _search(similarity, Relevance(classes, classes, skip_same_index=True))
    others = checks.integers(gallery_classes, similarity.shape[1], "gallery classes")
    checks.one_list(skip_same_index, classes, others)
    return _search(similarity, Relevance(classes, others, skip_same_index=skip_same_index))


def _search(similarity: Similarity, relevance: Relevance) -> Searches:
    expect_match(relevance)
    blocks = match_ranks(similarity, relevance, keep=_outcome)
    searches = Searches(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
    if searches.collapsed:
        logger.warning(
            "%.0f%% of the queries have a wrong picture within 1e-6 of their best match: the model gives most pictures "
            "the same embedding (collapsed), or the same picture is listed under several identities",
            100 * searches.tied_fraction,
        )
    return searches


def _outcome(found: Ranks) -> tuple[NDArray, ...]:
    """The columns of `Searches` for some queries."""
    ranks, tied = found
    match = ranks > 0
    num_matches = match.sum(axis=1)
    per_query = np.maximum(num_matches, 1)
    place = np.arange(1, ranks.shape[1] + 1)
    precision = np.where(match, place / np.maximum(ranks, 1), 0.0)  # (B, M), at each match
    in_first_r = match & (ranks <= num_matches[:, None])
    ap = precision.sum(axis=1) / per_query
    map_at_r = (precision * in_first_r).sum(axis=1) / per_query
    r_precision = in_first_r.sum(axis=1) / per_query
    return num_matches, ranks[:, 0], ranks.max(axis=1), ap, map_at_r, r_precision, tied


def expect_match(relevance: Relevance) -> None:
    """Raises ValueError where no query has a match, with the reason."""
    if not relevance.any_match:
        raise ValueError(_why_no_match(relevance))


def _why_no_match(relevance: Relevance) -> str:
    """Which of the three usual reasons: no shared identity, one camera, or one picture per identity."""
    shared = int((relevance.size > 0).sum())
    text = f"scoring: none of {relevance.num_query} queries has a match among {relevance.num_gallery} gallery pictures"
    if not shared:
        return f"{text}: no identity is on both sides. Check that query and gallery come from one data set"
    if relevance.query_cameras is None or relevance.gallery_cameras is None:
        return f"{text}: {shared} find only their own picture. Each class needs two pictures"
    cameras = np.union1d(relevance.query_cameras, relevance.gallery_cameras)
    hint = "there is a single camera" if len(cameras) == 1 else "check the camids"
    return f"{text}: {shared} find their identity only in their own camera, which is junk; {hint}. TEST.CAMERA_RULE False (camids None) counts such pictures"
