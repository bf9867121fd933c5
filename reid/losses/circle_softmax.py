"""Circle loss on classes."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses import ClassLoss
from reid.losses._cosine import directions, unit
from reid.losses.circle import Circle
from reid.pairs import Pairs, Rows


class CircleSoftmax(ClassLoss):
    """Circle loss between each embedding and one weight a class: its own is the one positive, all others are negatives.

    Args:    margin: in units of cosine similarity. gamma: scale. The paper takes 0.25 and 128 for re-ID, 0.25 and 256
             for faces; FastReID 0.35 and 64.
    Source:  Sun et al. 2020, with class-level labels.
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.25, gamma: float = 128.0):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.circle = Circle(margin, gamma)

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        every = torch.arange(len(self.weight), device=classes.device)
        rows, weights = Rows.of(unit(embeddings), classes, unit=True), Rows.of(unit(self.weight), every, unit=True)
        return self.circle(Pairs.between(rows, weights))
