"""Supervised contrastive loss."""

from __future__ import annotations

from torch import Tensor

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean
from reid.pairs import Pairs


class SupCon(PairLoss):
    """Supervised contrastive loss: each positive classified against all other images, further positives included.

    Averaged over an anchor's positives, then over the anchors that have a positive and a negative.

    Args:    temperature: of the cosine similarity; 0.1 as in pytorch-metric-learning.
    Source:  Khosla et al. 2020, the form with the sum outside the logarithm (L_out).
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, pairs: Pairs) -> Tensor:
        logits = pairs.similarity() / self.temperature  # (B, N)
        everyone = logsumexp(logits, pairs.positive | pairs.negative)  # (B,)
        num_positive = pairs.positive.sum(dim=1).clamp_min(1)
        positives = logits.masked_fill(~pairs.positive, 0).sum(dim=1) / num_positive
        return mean(everyone - positives, self.usable(pairs))
