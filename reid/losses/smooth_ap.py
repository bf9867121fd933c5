"""Smooth-AP: average precision with soft ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs


class SmoothAP(PairLoss):
    """Smooth-AP: 1 - average precision, each rank counted with a sigmoid instead of a step.

    Averaged over an anchor's positives, then over the anchors that have a positive and a negative. Takes a number for
    every positive pair and reference: (positive pairs) x N, the most of all pair losses.

    Args:    temperature: of the sigmoid, in cosine similarity; 0.01 as in pytorch-metric-learning.
    Source:  Brown et al. 2020. Deviation: classes may have different numbers of images, and an image is not counted
             among its own matches, which the authors' code does.
    """

    def __init__(self, temperature: float = 0.01):
        super().__init__()
        self.temperature = temperature

    def forward(self, pairs: Pairs) -> Tensor:
        similarity = pairs.similarity()  # (B, N)
        anchors = self.usable(pairs)
        rows, columns = (pairs.positive & anchors[:, None]).nonzero(as_tuple=True)
        gaps = similarity[rows] - similarity[rows, columns][:, None]  # (P, N)
        above = torch.sigmoid(gaps / self.temperature)
        positives = (
            above.masked_fill(~pairs.positive[rows], 0).sum(dim=1) + 0.5
        )  # itself: 1, of which sigmoid gave half
        negatives = above.masked_fill(~pairs.negative[rows], 0).sum(dim=1)
        precision = positives / (positives + negatives)
        num_positive = pairs.positive.sum(dim=1).clamp_min(1)
        losses = 1 - similarity.new_zeros(len(anchors)).index_add(0, rows, precision / num_positive[rows])
        return mean(losses, anchors)
