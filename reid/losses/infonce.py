"""InfoNCE, also called NT-Xent."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp
from reid.pairs import Pairs


class InfoNCE(PairLoss):
    """InfoNCE / NT-Xent: each positive pair classified against all negatives of its anchor.

    Averaged over the positive pairs whose anchor has a negative. Other positives are not in the denominator.

    Args:    temperature: of the cosine similarity; 0.07 as in pytorch-metric-learning.
    Source:  van den Oord et al. 2018; Chen et al. 2020 (SimCLR), whose NT-Xent it equals for two images per class.
    """

    def __init__(self, temperature: float = 0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, pairs: Pairs) -> Tensor:
        logits = pairs.similarity() / self.temperature  # (B, N)
        negatives = logsumexp(logits, pairs.negative)  # (B,)
        rows, columns = (pairs.positive & self.usable(pairs)[:, None]).nonzero(as_tuple=True)
        losses = F.softplus(negatives[rows] - logits[rows, columns])
        return losses.sum() / max(1, len(losses))
