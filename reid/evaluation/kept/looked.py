"""Some queries' scores against a whole gallery, with who is right and who is junk: what all that is kept is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.data.records import Dataset, Trial
from reid.evaluation.evaluate import relevance_of
from reid.evaluation.sides import Sides, gallery_of


class Looked(NamedTuple):
    """Some queries against the whole gallery: scores (n, G) float32; right, junk (n, G) bool, as in counting."""

    queries: Sequence[int]
    scores: Tensor
    right: Tensor
    junk: Tensor
    scale: float
    one_scale: bool


def scores_of(sides: Sides, dataset: Dataset, trial: Trial, queries: Sequence[int]) -> Looked:
    gallery = gallery_of(trial)
    similarity = sides.similarity(sides.query([trial.query[i] for i in queries]), sides.gallery(gallery))
    shape = len(queries), len(gallery)
    scores = torch.empty(shape, device=similarity.device, dtype=torch.float32)
    similarity.tile(slice(0, shape[0]), slice(0, shape[1]), scores)
    right, junk = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    relevance = relevance_of(dataset, trial)
    for place, query in enumerate(queries):
        columns, filled, match = (torch.from_numpy(a[0]) for a in relevance.own_class(slice(query, query + 1)))
        right[place, columns[match]] = True
        junk[place, columns[filled & ~match]] = True
    return Looked(queries, scores.cpu(), right, junk, similarity.scale, similarity.one_scale)


def spread(values: NDArray[np.int64], num: int) -> list[int]:
    """Up to `num` of them, evenly."""
    places = np.linspace(0, len(values) - 1, min(num, len(values))).round().astype(int)
    return values[np.unique(places)].tolist()
