"""Circle loss on pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.pairs import Pairs


class Circle(PairLoss):
    """Circle loss: each similarity is weighted by how far it is from its optimum.

    Averaged over the anchors that have a positive and a negative. The weights are constants to the gradient.

    Args:    margin: in units of cosine similarity. gamma: scale. The paper takes 0.25 and 128 for re-ID.
    Source:  Sun et al. 2020, eqs. 4 to 8, per anchor.
    """

    normalize = True

    def __init__(self, margin: float = 0.25, gamma: float = 128.0):
        super().__init__()
        self.margin, self.gamma = margin, gamma

    def forward(self, pairs: Pairs) -> Tensor:
        similarity = pairs.similarity()  # (B, N)
        m = self.margin
        fixed = similarity.detach()
        positive = -self.gamma * (1 + m - fixed).clamp_min(0) * (similarity - (1 - m))
        negative = self.gamma * (fixed + m).clamp_min(0) * (similarity - m)
        # A finite stand-in for -inf keeps the gradient of a row without pairs at 0 instead of NaN.
        lowest = torch.finfo(similarity.dtype).min
        positive = positive.masked_fill(~pairs.positive, lowest).logsumexp(dim=1)
        negative = negative.masked_fill(~pairs.negative, lowest).logsumexp(dim=1)
        complete = pairs.positive.any(dim=1) & pairs.negative.any(dim=1)
        losses = F.softplus((positive + negative)[complete])
        return losses.sum() / max(1, len(losses))
