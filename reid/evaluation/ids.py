"""Who is on the pictures of a person search, and what follows for each query: the junk rule and the distractors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from reid.data.records import Sample
from reid.evaluation import checks
from reid.evaluation.relevance import Relevance

DISTRACTOR = 0  # the pid of Market-1501's distractors


class Ids(NamedTuple):
    """Who is on each picture and which camera took it: pids (N,) and camids (N,) whole numbers; camids None: no junk."""

    pids: ArrayLike | Tensor
    camids: ArrayLike | Tensor | None = None

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Ids:
        """The ids of samples; camids only where every sample has one."""
        samples = list(samples)
        pids = np.array([sample.pid for sample in samples], dtype=np.int64)
        camids = [sample.camid for sample in samples if sample.camid is not None]
        unknown = len(samples) - len(camids)
        if unknown not in (0, len(samples)):
            raise ValueError(
                f"scoring: {unknown} of {len(samples)} samples have no camid; expected all or none to have one"
            )
        return cls(pids, None if unknown else np.array(camids, dtype=np.int64))


def relevance(shape: tuple[int, int], query_ids: Ids, gallery_ids: Ids | None, skip_same_index: bool) -> Relevance:
    """Checks the ids of Q queries and G gallery pictures, `shape`; without the gallery's, the queries search each other.

    Raises ValueError for ids that do not fit the pictures or each other, and for pids below 0.
    """
    if gallery_ids is None:
        gallery_ids, skip_same_index = query_ids, True
    query_pids = checks.integers(query_ids.pids, shape[0], "query pids")
    gallery_pids = checks.integers(gallery_ids.pids, shape[1], "gallery pids")
    for pids, side in ((query_pids, "query"), (gallery_pids, "gallery")):
        if (pids < 0).any():
            raise ValueError(
                f"scoring: found {int((pids < 0).sum())} {side} pids below 0, which mark junk; leave them out"
            )
    if (query_ids.camids is None) != (gallery_ids.camids is None):
        raise ValueError("scoring: found camids on one side only; expected both, or none: then nothing is junk")
    cameras = [
        None if ids.camids is None else checks.integers(ids.camids, len(pids), f"{side} camids")
        for ids, pids, side in ((query_ids, query_pids, "query"), (gallery_ids, gallery_pids, "gallery"))
    ]
    checks.one_list(skip_same_index, query_pids, gallery_pids)
    return Relevance(query_pids, gallery_pids, *cameras, distractor=DISTRACTOR, skip_same_index=skip_same_index)
