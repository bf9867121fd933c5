"""Triplet loss with batch-hard mining."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.pairs import Pairs

DISTANCES = ("euclidean", "cosine")


class Triplet(PairLoss):
    """Batch-hard triplet loss: each anchor's farthest positive against its nearest negative.

    Averaged over the anchors that have both; without any the loss is 0 with gradient 0.

    Args:
        margin: in units of the distance; 0.3 is usual for re-ID. 0 takes the soft margin log(1 + exp(x)) instead, as
            FastReID does.
        distance: `euclidean` between raw embeddings, or `cosine` (1 - similarity) between unit ones.
    Source:  Hermans et al. 2017, eq. 5 and the soft margin of section 3.2.
    """

    def __init__(self, margin: float = 0.3, distance: str = "euclidean"):
        super().__init__()
        if distance not in DISTANCES:
            raise ValueError(f"DISTANCE: no {distance}; there are {', '.join(DISTANCES)}")
        self.margin = margin
        self.normalize = distance == "cosine"

    def forward(self, pairs: Pairs) -> Tensor:
        distances = 1 - pairs.similarity() if self.normalize else pairs.distances()  # (B, N)
        farthest = distances.masked_fill(~pairs.positive, -torch.inf).amax(dim=1)
        nearest = distances.masked_fill(~pairs.negative, torch.inf).amin(dim=1)
        complete = pairs.positive.any(dim=1) & pairs.negative.any(dim=1)
        gap = farthest[complete] - nearest[complete]
        losses = F.relu(gap + self.margin) if self.margin > 0 else F.softplus(gap)
        return losses.sum() / max(1, len(losses))
