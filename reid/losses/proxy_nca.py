"""Neighbourhood component analysis with one proxy per class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own


class ProxyNCA(ClassLoss):
    """Each embedding's squared distance to its class's proxy against those to the proxies of all other classes.

    Args:
        positive_in_denominator: also count the own proxy among those it is held against. The paper does not, and its
            loss then has no lower bound; most codes do, and theirs is a softmax.
        scale: of the squared distances between unit rows. The common code has 9: rows and proxies of length 3.
    Source:  Movshovitz-Attias et al. 2017, No Fuss Distance Metric Learning, the NCA loss over proxies.
    """

    def __init__(self, num_classes: int, dim: int, positive_in_denominator: bool = False, scale: float = 1.0):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"found {num_classes} class; expected 2 or more, for a proxy to stand against another")
        self.weight = directions(num_classes, dim)
        self.positive_in_denominator, self.scale = positive_in_denominator, scale

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        # Minus the squared distance is 2 cos θ - 2 between unit rows, and the 2 stands on both sides of the fraction.
        logits = self.scale * 2 * cosines(embeddings, self.weight)  # (B, C)
        if self.positive_in_denominator:
            return F.cross_entropy(logits, classes)
        others = on_own(logits, classes, lambda own: torch.full_like(own, -torch.inf))
        return (others.logsumexp(dim=1, keepdim=True) - logits.gather(1, classes[:, None])).mean()
