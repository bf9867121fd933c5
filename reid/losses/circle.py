"""Circle loss on pairs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean, packed
from reid.pairs import Pairs


class Circle(PairLoss):
    """Circle loss: each similarity is weighted by how far it is from its optimum.

    Averaged over the anchors that have a positive and a negative. The weights are constants to the gradient.

    Args:    margin: in units of cosine similarity. gamma: scale. The paper takes 0.25 and 128 for re-ID.
    Source:  Sun et al. 2020, eqs. 4 to 8, per anchor.
    """

    def __init__(self, margin: float = 0.25, gamma: float = 128.0):
        super().__init__()
        self.margin, self.gamma = margin, gamma

    def forward(self, pairs: Pairs) -> Tensor:
        similarity = pairs.similarity()  # (B, N)
        m = self.margin
        near, there = packed(similarity, pairs.positive)  # (B, P)
        positive = -self.gamma * (1 + m - near.detach()).clamp_min(0) * (near - (1 - m))
        negative = self.gamma * (similarity.detach() + m).clamp_min(0) * (similarity - m)
        worst = logsumexp(positive, there) + logsumexp(negative, pairs.negative)
        return mean(F.softplus(worst), self.usable(pairs))
