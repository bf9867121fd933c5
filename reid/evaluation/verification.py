"""Are two pictures one person? The share of true pairs accepted at a given share of false ones: TPR at FPR, the ROC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation import checks, counting, ids
from reid.evaluation.blocks import share, slices, threads
from reid.evaluation.counting import OwnClasses, tie_width
from reid.evaluation.rank import Embeddings, Ids
from reid.evaluation.relevance import Relevance
from reid.similarity import Similarity


def tpr_at_fpr(
    query: Embeddings | Similarity,
    gallery: Embeddings | None,
    query_ids: Ids,
    gallery_ids: Ids | None = None,
    *,
    fprs: Sequence[float] = (1e-4, 1e-3, 1e-2),
) -> NDArray[np.float64]:
    """The share of matching pairs that score above all but a share `fpr` of the wrong pairs, for each of `fprs`.

    All pairs of queries with a match weigh the same. Arguments, junk and distractors are those of `rank.score`. A matching
    pair that ties with the wrong pair at the limit is not above it. With a grid of fprs this is the ROC curve. Exact;
    memory grows with the largest fpr times the number of wrong pairs.

    Returns: (len(fprs),) float64, fractions. Raises: ValueError as `rank.score` does, for an fpr outside 0..1, and for scores
    that cannot be compared between queries (re-ranked ones, shortlists).
    """
    if not fprs or not all(0 <= fpr <= 1 for fpr in fprs):
        raise ValueError(f"verification: found fprs {list(fprs)}; expected one or more in 0..1")
    similarity = checks.similarity(query, gallery, named=gallery_ids is not None)
    if not similarity.one_scale:
        raise ValueError(
            "verification: found scores that cannot be compared between queries (re-ranked, or right on shortlists only); "
            "expected an encoder's or a matcher's own"
        )
    relevance = ids.relevance(similarity.shape, query_ids, gallery_ids, skip_same_index=False)
    right, num_wrong = _matching_pairs(similarity, relevance)
    if not len(right) or not num_wrong:
        raise ValueError(
            f"verification: found {len(right)} matching and {num_wrong} wrong pairs; expected some of both"
        )
    # Accepting what lies above the (n + 1)-th wrong pair accepts at most n of them.
    places = [math.floor(fpr * num_wrong) for fpr in fprs]
    highest = _highest_wrong(similarity, relevance, min(1 + max(places), num_wrong))
    below_all = torch.full((1,), -torch.inf, device=highest.device, dtype=torch.float32)
    limits = torch.cat([highest + tie_width(highest, similarity.scale), below_all])[
        [min(place, num_wrong) for place in places]
    ]
    return (right[:, None] > limits).double().mean(dim=0).cpu().numpy()


def _matching_pairs(similarity: Similarity, relevance: Relevance) -> tuple[Tensor, int]:
    """The scores of all matching pairs (P,), and how many wrong pairs the queries with a match have."""
    device, (num_query, num_gallery) = similarity.device, similarity.shape
    scores, num_wrong = [], 0
    for rows in slices(num_query, counting.tile_for(device)[0]):
        found = OwnClasses(relevance, rows, device).match_scores(similarity)
        valid = found[:, 0].isfinite().cpu().numpy()
        num_wrong += int((num_gallery - relevance.size[rows])[valid].sum())
        scores.append(found[found.isfinite()])
    return torch.cat(scores), num_wrong


def _highest_wrong(similarity: Similarity, relevance: Relevance, num: int) -> Tensor:
    """(num,) the highest scores of all wrong pairs, falling."""
    device, (num_query, num_gallery) = similarity.device, similarity.shape
    size, width = counting.tile_for(device)

    def work(blocks: Iterator[slice]) -> Tensor:
        buffer = torch.empty(size, min(width, num_gallery), device=device, dtype=torch.float32)
        kept, num_kept, limit = [], 0, -torch.inf
        for rows in blocks:
            own = OwnClasses(relevance, rows, device)
            without_match = own.match_scores(similarity)[:, 0].isinf()
            for columns in slices(num_gallery, width):
                scores = similarity.tile(rows, columns, buffer)
                own.hide(scores, columns)
                scores[without_match] = -torch.inf
                kept.append(scores[scores > limit])
                num_kept += len(kept[-1])
                if num_kept > 2 * num:  # so that each score is looked at a few times, however many tiles there are
                    kept, num_kept = [torch.cat(kept).topk(num, sorted=False).values], num
                    limit = float(kept[0].min())
        return torch.cat(kept) if kept else torch.empty(0, device=device, dtype=torch.float32)

    with threads(device) as num_threads:
        size = max(1, size // num_threads)
        found = torch.cat(share(work, slices(num_query, size), num_threads))
    return found.topk(num).values
