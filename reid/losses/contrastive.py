"""Contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs

FORMS = ("xbm", "hadsell")


class Contrastive(PairLoss):
    """Contrastive loss: positives are drawn together, negatives pushed apart up to a margin.

    `xbm`: of unit vectors, 1 - s for a positive and s for a negative more similar than the margin. Summed over an anchor's
    pairs and averaged over the anchors that have one, so that a memory's term grows with the memory.
    `hadsell`: of raw vectors at distance d, d^2 / 2 for a positive and max(0, margin - d)^2 / 2 for a negative, averaged
    over all pairs.

    Args:
        form: `xbm` or `hadsell`.
        margin: a cosine similarity for `xbm`, 0.5 in the paper's code; a distance for `hadsell`, where 1 is usual.
    Source:  Wang et al. 2020 (XBM) as their code has it, where the value jumps at the margin and the gradient is that of
             max(0, s - margin); Hadsell et al. 2006, eq. 4.
    """

    def __init__(self, form: str = "xbm", margin: float = 0.5):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"FORM: no {form}; there are {', '.join(FORMS)}")
        self.form, self.margin = form, margin
        self.normalize = form == "xbm"

    def usable(self, pairs: Pairs) -> Tensor:
        return pairs.paired

    def forward(self, pairs: Pairs) -> Tensor:
        if self.form == "hadsell":
            distances = pairs.distances()  # (B, N)
            values = torch.where(pairs.positive, distances, F.relu(self.margin - distances)).square() / 2
            return mean(values, pairs.positive | pairs.negative)
        num_anchors = self.usable(pairs).sum().clamp_min(1)
        pairs = pairs.near(self.margin)
        similarity = pairs.similarity()  # (B, n)
        counted = pairs.positive | (pairs.negative & (similarity > self.margin))
        values = torch.where(pairs.positive, 1 - similarity, similarity)
        return values.masked_fill(~counted, 0).sum() / num_anchors
