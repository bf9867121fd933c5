"""Contrastive loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs

FORMS = ("xbm", "hadsell", "mean")


class Contrastive(PairLoss):
    """Contrastive loss: positives are drawn together, negatives pushed apart up to a margin.

    `xbm`: of unit vectors of similarity s, 1 - s for a positive, and s for a negative where it is above the margin. Summed
    over an anchor's pairs and averaged over the anchors that have any: against a memory it grows with the memory.
    `hadsell`: of raw vectors at distance d, d^2 / 2 for a positive, max(0, margin - d)^2 / 2 for a negative. Averaged over
    all pairs: against a memory the far negatives drown the rest.
    `mean`: of unit vectors at distance d, the mean of d over the positives, and the mean of margin - d over the negatives
    where it is above 0: of one size for any memory.

    Args:
        form: one of the three.
        margin: a cosine similarity for `xbm`, 0.5 in its code; a distance for the others, where 1 is usual.
    Source:  Wang et al. 2020 (XBM) as their code has it: the value jumps at the margin, the gradient is that of
             max(0, s - margin). Hadsell et al. 2006, eq. 4. `mean` is the form of Musgrave et al. 2020.
    """

    def __init__(self, form: str = "xbm", margin: float = 0.5):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"FORM: no {form}; there are {', '.join(FORMS)}")
        self.form, self.margin = form, margin
        self.normalize = form != "hadsell"
        self.sums_pairs = form == "xbm"

    def usable(self, pairs: Pairs) -> Tensor:
        return pairs.paired

    def forward(self, pairs: Pairs) -> Tensor:
        if self.form == "xbm":
            return self._summed(pairs)
        if self.form == "mean":
            return self._averaged(pairs)
        distances = pairs.distances()  # (B, N)
        values = torch.where(pairs.positive, distances, F.relu(self.margin - distances)).square() / 2
        return mean(values, pairs.positive | pairs.negative)

    def _summed(self, pairs: Pairs) -> Tensor:
        num_anchors = self.usable(pairs).sum().clamp_min(1)
        if pairs.euclidean:  # 2 - 2 s is the squared distance of unit vectors
            pairs = pairs.near(math.sqrt(max(0.0, 2 - 2 * self.margin)))
        similarity = pairs.similarity()  # (B, n)
        counted = pairs.positive | (pairs.negative & (similarity > self.margin))
        values = torch.where(pairs.positive, 1 - similarity, similarity)
        return values.masked_fill(~counted, 0).sum() / num_anchors

    def _averaged(self, pairs: Pairs) -> Tensor:
        pairs = pairs.near(self.margin)
        distances = pairs.distances()  # (B, n)
        active = pairs.negative & (distances < self.margin)
        return mean(distances, pairs.positive) + mean(self.margin - distances, active)
