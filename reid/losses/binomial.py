"""Binomial deviance loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs


class BinomialDeviance(PairLoss):
    """Binomial deviance: a logistic loss on each pair's cosine similarity.

    The mean over all positive pairs plus the mean over all negative pairs; a batch with one kind has that mean only.

    Args:    alpha: scale. beta: the similarity between positive and negative. negative_cost: further scale of the
             negatives. The defaults are those of BIER's code.
    Source:  Yi et al. 2014, Deep Metric Learning for Person Re-Identification. Deviation from BIER's code: it counts
             each image with itself among the positives that it divides by.
    """

    sums_pairs = True

    def __init__(self, alpha: float = 2.0, beta: float = 0.5, negative_cost: float = 25.0):
        super().__init__()
        self.alpha, self.beta, self.negative_cost = alpha, beta, negative_cost

    def usable(self, pairs: Pairs) -> Tensor:
        return pairs.paired

    def forward(self, pairs: Pairs) -> Tensor:
        scaled = self.alpha * (pairs.similarity() - self.beta)  # (B, N)
        return mean(F.softplus(-scaled), pairs.positive) + mean(F.softplus(self.negative_cost * scaled), pairs.negative)
