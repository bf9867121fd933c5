"""Centre push: every embedding nearer to its own class's centre than to any other."""

from __future__ import annotations

from torch import Tensor

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions
from reid.losses._masked import mean_above_zero


class CenterPush(ClassLoss):
    """max(0, margin + d(x, own centre) - d(x, another centre)) over all other centres; d is 1 - cosine.

    Averaged over an embedding's terms above 0, then over the embeddings that have any.

    Args:    margin: in units of cosine.
    Source:  Izutov 2018 (RMNet, arXiv 1812.02465), global push, whose margin is 0, and the 0.1 of Sovrasov and Sidnev 2020
             (arXiv 2003.07618). Deviation: the centres are weights of this loss, there those of the classifier beside it.
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.1):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.margin = margin

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        near = cosines(embeddings, self.weight)  # (B, C)
        own = near.gather(1, classes[:, None])
        others = near.new_ones(near.shape).scatter(1, classes[:, None], 0).bool()
        return mean_above_zero(self.margin + near - own, others)
