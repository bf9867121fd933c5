"""Multi-similarity loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean, packed
from reid.pairs import Pairs


class MultiSimilarity(PairLoss):
    """Multi-similarity loss: a pair weighs by its own similarity and by how it stands to the anchor's other pairs.

    Averaged over the anchors that have a positive and a negative, whether or not mining leaves them any.

    Args:
        alpha, beta: scales of positive and negative pairs.
        base: the similarity that positives should be above and negatives below.
        epsilon: mining keeps a negative more similar than the least similar positive less epsilon, and a positive less
            similar than the most similar negative plus epsilon.
        mining: False takes all pairs.
    Source:  Wang et al. 2019, eqs. 11 to 16, whose beta is 50 in the paper and 40 in the released code. Deviation: the
             paper's mean is over the whole batch, anchors without a pair of either kind included.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float = 0.1,
        mining: bool = True,
    ):
        super().__init__()
        self.alpha, self.beta, self.base, self.epsilon, self.mining = alpha, beta, base, epsilon, mining

    def forward(self, pairs: Pairs) -> Tensor:
        similarity = pairs.similarity()  # (B, N)
        near, positive = packed(similarity, pairs.positive)  # (B, P)
        negative = pairs.negative
        if self.mining:
            least = F.pad(near.masked_fill(~positive, torch.inf), (0, 1), value=torch.inf).amin(dim=1, keepdim=True)
            most = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
            positive = positive & (near < most + self.epsilon)
            negative = negative & (similarity > least - self.epsilon)
        # softplus(logsumexp) is log(1 + sum), whose exp(50 * 0.5) overflows half precision.
        pull = F.softplus(logsumexp(-self.alpha * (near - self.base), positive)) / self.alpha
        push = F.softplus(logsumexp(self.beta * (similarity - self.base), negative)) / self.beta
        return mean(pull + push, self.usable(pairs))
