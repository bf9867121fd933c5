"""Uniformity within domains: no anchor near the identities of its own domain, so that no domain keeps to a corner."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses import PairLoss
from reid.losses._masked import log_mean_exp
from reid.pairs import Pairs


class DomainUniformity(PairLoss):
    """The log of the mean of exp(-scale d^2) over each anchor's nearest references of its domain and of another class.

    The references may be the batch, a memory, or prototypes of identities (`Pairs.between`).

    Args:    num_neighbours: how many of the nearest, fewer where there are fewer. scale: how local it is.
    Source:  Cho et al. 2024 (BAU), against prototypes. Deviations: an anchor's own class is left out by its label, where
             theirs drops the nearest prototype, whosever it is; what a small domain lacks of neighbours is left out, where
             theirs counts as exp(-infinity) = 0 and thins the mean.
    """

    def __init__(self, num_neighbours: int = 256, scale: float = 2.0):
        super().__init__()
        self.num_neighbours, self.scale = num_neighbours, scale

    def usable(self, pairs: Pairs) -> Tensor:
        return (pairs.negative & pairs.same_domain).amax(dim=1)

    def forward(self, pairs: Pairs) -> Tensor:
        counted = pairs.negative & pairs.same_domain
        near = pairs.similarity().masked_fill(~counted, -torch.inf)
        near, columns = near.topk(min(self.num_neighbours, near.shape[1]), dim=1)
        counted = counted.gather(1, columns)
        return log_mean_exp(-self.scale * (2 - 2 * near.masked_fill(~counted, 0)), counted)
