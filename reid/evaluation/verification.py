"""Are two pictures one person? The share of true pairs accepted at a given share of false ones: TPR at FPR, the ROC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation import checks, counting, ids
from reid.evaluation.blocks import product, share, slices, threads
from reid.evaluation.counting import OwnClasses, tie_width
from reid.evaluation.rank import Embeddings, Ids
from reid.evaluation.relevance import Relevance


def tpr_at_fpr(
    query: Embeddings,
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

    Returns: (len(fprs),) float64, fractions. Raises: ValueError as `rank.score` does, and for an fpr outside 0..1.
    """
    if not fprs or not all(0 <= fpr <= 1 for fpr in fprs):
        raise ValueError(f"verification: found fprs {list(fprs)}; expected one or more in 0..1")
    relevance = ids.relevance(query, gallery, query_ids, gallery_ids, skip_same_index=False)
    one, other = checks.embeddings(query, gallery)
    right, num_wrong = _matching_pairs(one, other, relevance)
    if not len(right) or not num_wrong:
        raise ValueError(
            f"verification: found {len(right)} matching and {num_wrong} wrong pairs; expected some of both"
        )
    # Accepting what lies above the (n + 1)-th wrong pair accepts at most n of them.
    places = [math.floor(fpr * num_wrong) for fpr in fprs]
    highest = _highest_wrong(one, other, relevance, min(1 + max(places), num_wrong))
    below_all = torch.full((1,), -torch.inf, device=highest.device)
    limits = torch.cat([highest + tie_width(highest), below_all])[[min(place, num_wrong) for place in places]]
    return (right[:, None] > limits).double().mean(dim=0).cpu().numpy()


def _matching_pairs(query: Tensor, gallery: Tensor, relevance: Relevance) -> tuple[Tensor, int]:
    """The scores of all matching pairs (P,), and how many wrong pairs the queries with a match have."""
    scores, num_wrong = [], 0
    for rows in slices(len(query), counting.tile_for(query.device)[0]):
        found = OwnClasses(relevance, rows, query.device).match_scores(query[rows], gallery)
        valid = found[:, 0].isfinite().cpu().numpy()
        num_wrong += int((len(gallery) - relevance.size[rows])[valid].sum())
        scores.append(found[found.isfinite()])
    return torch.cat(scores), num_wrong


def _highest_wrong(query: Tensor, gallery: Tensor, relevance: Relevance, num: int) -> Tensor:
    """(num,) the highest scores of all wrong pairs, falling."""
    size, width = counting.tile_for(query.device)

    def work(blocks: Iterator[slice]) -> Tensor:
        buffer = torch.empty(size, min(width, len(gallery)), device=query.device)
        kept, num_kept, limit = [], 0, -torch.inf
        for rows in blocks:
            own = OwnClasses(relevance, rows, query.device)
            without_match = own.match_scores(query[rows], gallery)[:, 0].isinf()
            for columns in slices(len(gallery), width):
                scores = product(query[rows].float(), gallery[columns], buffer)
                own.hide(scores, columns)
                scores[without_match] = -torch.inf
                kept.append(scores[scores > limit])
                num_kept += len(kept[-1])
                if num_kept > 2 * num:  # so that each score is looked at a few times, however many tiles there are
                    kept, num_kept = [torch.cat(kept).topk(num, sorted=False).values], num
                    limit = float(kept[0].min())
        return torch.cat(kept) if kept else torch.empty(0, device=query.device)

    with threads(query.device) as num_threads:
        size = max(1, size // num_threads)
        found = torch.cat(share(work, slices(len(query), size), num_threads))
    return found.topk(num).values
