"""Triplets over domains: pictures of other sources are drawn near, other identities of one's own source pushed away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs


class DomainTriplet(PairLoss):
    """The distance to the farthest row of another domain against that to the nearest of another class of one's own domain.

    So the domains overlap and identities within each stay apart: no class says which pictures of two domains belong
    together, and none is asked.

    Args:    margin: of the hinge, in units of the Euclidean distance of raw rows; 0 takes log(1 + exp(d_p - d_n)).
    Source:  Choi et al. 2021 (MetaBIN), the cross-domain triplet of their code, with its soft margin.
    """

    normalize = False
    needs_domains = True

    def __init__(self, margin: float = 0.0):
        super().__init__()
        self.margin = margin

    def usable(self, pairs: Pairs) -> Tensor:
        return (~pairs.same_domain).amax(dim=1) & (pairs.negative & pairs.same_domain).amax(dim=1)

    def forward(self, pairs: Pairs) -> Tensor:
        distances, same = pairs.distances(), pairs.same_domain
        farthest = distances.masked_fill(same, -torch.inf).amax(dim=1)
        nearest = distances.masked_fill(~(pairs.negative & same), torch.inf).amin(dim=1)
        usable = self.usable(pairs)
        gap = (farthest - nearest).masked_fill(~usable, 0)
        return mean(F.relu(gap + self.margin) if self.margin > 0 else F.softplus(gap), usable)
