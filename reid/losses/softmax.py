"""Identity classification by a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.losses import ClassLoss


class Softmax(ClassLoss):
    """Cross-entropy of a linear classifier without bias over all training identities.

    Args:    label_smoothing: share of the target spread evenly over all classes, 0..1 (0.1 is usual for re-ID).
    Source:  Luo et al. 2019, Bag of Tricks, for the missing bias and the smoothing after a BN neck.
    """

    def __init__(self, num_classes: int, dim: int, label_smoothing: float = 0.0):
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"LABEL_SMOOTHING is {label_smoothing}; expected 0 up to, not including, 1")
        self.weight = nn.Parameter(torch.empty(num_classes, dim, dtype=torch.float32))
        nn.init.normal_(self.weight, std=0.001)
        self.label_smoothing = label_smoothing

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(embeddings), classes, label_smoothing=self.label_smoothing)

    def logits(self, embeddings: Tensor) -> Tensor:
        return F.linear(embeddings, self.weight).float()
