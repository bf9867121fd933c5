"""The unified loss that circle loss generalises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean, packed
from reid.pairs import Pairs


class Unified(PairLoss):
    """log(1 + sum over negatives and positives of exp(gamma (s_n - s_p + margin))), per anchor.

    Averaged over the anchors that have a positive and a negative. With one positive, and class vectors as references, it
    is AM-Softmax; divided by a large gamma, the batch-hard triplet loss on similarities.

    Args:    margin: in units of cosine similarity. gamma: scale.
    Source:  Sun et al. 2020, eq. 1, with the options of their circle loss.
    """

    def __init__(self, margin: float = 0.25, gamma: float = 128.0):
        super().__init__()
        self.margin, self.gamma = margin, gamma

    def forward(self, pairs: Pairs) -> Tensor:
        scaled = self.gamma * pairs.similarity()  # (B, N)
        near, positive = packed(scaled, pairs.positive)  # (B, P)
        worst = logsumexp(-near, positive) + logsumexp(scaled, pairs.negative)
        return mean(F.softplus(worst + self.gamma * self.margin), self.usable(pairs))
