"""Uniformity: embeddings spread over the sphere, whatever their classes."""

from __future__ import annotations

from torch import Tensor

from reid.losses import PairLoss
from reid.losses._masked import log_mean_exp
from reid.pairs import Pairs


class Uniformity(PairLoss):
    """The log of the mean of exp(-scale d^2) over all pairs of unit vectors at distance d, those of one class among them.

    Args:    scale: how local it is.
    Source:  Wang and Isola 2020, with 2; Cho et al. 2024 (BAU) take it of each view by itself and average.
    """

    def __init__(self, scale: float = 2.0):
        super().__init__()
        self.scale = scale

    def usable(self, pairs: Pairs) -> Tensor:
        return pairs.paired

    def forward(self, pairs: Pairs) -> Tensor:
        return log_mean_exp(-self.scale * (2 - 2 * pairs.similarity()), pairs.positive | pairs.negative)
