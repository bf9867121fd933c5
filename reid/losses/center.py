"""Center loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.losses import ClassLoss
from reid.pairs import wide


class Center(ClassLoss):
    """Half the squared distance of each embedding to its class's centre, averaged over the batch.

    It separates no classes: train it beside a loss that does, at a small WEIGHT.

    Source:  Wen et al. 2016, eq. 2. Deviations: the mean over the batch, not the sum. The centres are weights that the
             optimiser moves along this loss's gradient, at LR_FACTOR times its rate (with WEIGHT_DECAY 0: decay draws
             them to the origin). The paper moves each, whatever the loss weighs, by a share of the sum of its gaps to
             the n embeddings of its class over 1 + n, eq. 4.
    """

    def __init__(self, num_classes: int, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, dim, dtype=torch.float32))

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        gaps = wide(embeddings) - self.weight[classes]  # (B, D)
        return gaps.square().sum(dim=1).mean() / 2
