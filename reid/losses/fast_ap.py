"""FastAP: average precision from histograms of distances."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs


class FastAP(PairLoss):
    """FastAP: 1 - average precision, precision taken bin by bin from soft histograms of the squared distance.

    A pair belongs to the two bins beside it in proportion. Averaged over the anchors that have a positive and a negative.

    Args:    num_bins: over the squared distances of unit vectors, 0 to 4; 10 as in pytorch-metric-learning.
    Source:  Cakir et al. 2019, Deep Metric Learning to Rank.
    """

    def __init__(self, num_bins: int = 10):
        super().__init__()
        if num_bins < 1:
            raise ValueError(f"NUM_BINS is {num_bins}; expected 1 or more")
        self.num_bins = num_bins

    def forward(self, pairs: Pairs) -> Tensor:
        place = ((1 - pairs.similarity()) * (self.num_bins / 2)).clamp(0, self.num_bins)  # (B, N) in bins
        positive = self._histogram(place, pairs.positive)  # (B, num_bins + 2)
        found = positive.cumsum(dim=1)
        ranked = found + self._histogram(place, pairs.negative).cumsum(dim=1)
        # Where nothing is ranked yet nothing is found either, and 0 / 1 keeps value and gradient finite.
        precision = found / ranked.where(ranked > 0, torch.ones_like(ranked))
        num_positive = pairs.positive.sum(dim=1).clamp_min(1)
        return mean(1 - (positive * precision).sum(dim=1) / num_positive, self.usable(pairs))

    def _histogram(self, place: Tensor, mask: Tensor) -> Tensor:
        """(B, num_bins + 2): pairs in `mask` by bin; the last one stays empty."""
        below = place.detach().floor()
        share = place - below  # of the upper bin
        bins = place.new_zeros(len(place), self.num_bins + 2)
        bins = bins.scatter_add(1, below.long(), (1 - share).masked_fill(~mask, 0))
        return bins.scatter_add(1, below.long() + 1, share.masked_fill(~mask, 0))
