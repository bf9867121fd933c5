"""Triplet loss: batch-hard, semi-hard or all triplets, with a hinge or a soft margin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.losses._triplets import active
from reid.pairs import ROWS, Pairs

DISTANCES = ("euclidean", "cosine", "score")
MINING = ("hard", "semi_hard", "all")


class Triplet(PairLoss):
    """Triplet loss max(0, d_p - d_n + margin) of an anchor's positive and negative distance.

    `hard`: each anchor's farthest positive against its nearest negative, averaged over the anchors that have both.
    `semi_hard`: every triplet with d_p < d_n < d_p + margin. `all`: every triplet. Both averaged over the triplets whose
    loss is above 0, which semi-hard ones are by definition.

    Args:
        margin: in units of the distance; 0.3 is usual for re-ID. 0 takes the soft margin log(1 + exp(d_p - d_n)) instead,
            as FastReID does; for `hard` alone.
        distance: `euclidean` between raw embeddings; `cosine` (1 - similarity) between unit ones; `score`, minus the score
            of the pairs, such as a matcher's; without one, minus the inner product of raw embeddings.
        mining: which triplets count.
    Source:  Hermans et al. 2017, eq. 5, the soft margin of section 3.2 and the mean over active triplets of section 3.2;
             Schroff et al. 2015 (FaceNet), eq. 4, for semi-hard. Deviation: FaceNet's distances are squared ones of unit
             embeddings, twice the `cosine` here.
    """

    def __init__(self, margin: float = 0.3, distance: str = "euclidean", mining: str = "hard"):
        super().__init__()
        for option, value, known in (("DISTANCE", distance, DISTANCES), ("MINING", mining, MINING)):
            if value not in known:
                raise ValueError(f"{option}: no {value}; there are {', '.join(known)}")
        if margin <= 0 and mining != "hard":
            raise ValueError(f"MARGIN is {margin}: the soft margin is for MINING hard; {mining} needs one above 0")
        self.margin, self.distance, self.mining = margin, distance, mining
        self.normalize = distance == "cosine"

    def forward(self, pairs: Pairs) -> Tensor:
        if self.mining == "hard":
            return self._hardest(self._distances(pairs), pairs)
        if pairs.positive.shape[1] > ROWS and pairs.euclidean and self.distance != "score":
            pairs = pairs.near(self._reach(pairs))
        distances = self._distances(pairs)  # (B, n)
        pulls, pushes = active(distances.detach(), self.margin, pairs, semi_hard=self.mining == "semi_hard")
        triplets = pushes.sum()
        return (((pulls - pushes) * distances).sum() + self.margin * triplets) / triplets.clamp_min(1)

    def _distances(self, pairs: Pairs) -> Tensor:
        if self.distance == "euclidean":
            return pairs.distances()
        return 1 - pairs.similarity() if self.distance == "cosine" else -pairs.similarity()

    @torch.no_grad()
    def _reach(self, pairs: Pairs) -> Tensor:
        """(B, 1) Euclidean distance from which on a negative is in no triplet of a loss above 0: past all positives."""
        positives = pairs.columns(pairs.positive.amax(dim=0))
        distances = self._distances(positives).masked_fill(~positives.positive, 0)  # (B, p)
        reach = F.pad(distances, (0, 1)).amax(dim=1, keepdim=True) + self.margin  # a column more: p may be 0
        return (2 * reach).sqrt() if self.normalize else reach  # 1 - s is half the squared distance

    def _hardest(self, distances: Tensor, pairs: Pairs) -> Tensor:
        farthest = distances.masked_fill(~pairs.positive, -torch.inf).amax(dim=1)
        nearest = distances.masked_fill(~pairs.negative, torch.inf).amin(dim=1)
        complete = self.usable(pairs)
        gap = (farthest - nearest).masked_fill(~complete, 0)
        return mean(F.relu(gap + self.margin) if self.margin > 0 else F.softplus(gap), complete)
