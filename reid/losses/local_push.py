"""Local push: every embedding nearer to its own class's centre than to the batch's embeddings of other classes."""

from __future__ import annotations

from torch import Tensor

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions
from reid.losses._masked import mean_above_zero


class LocalPush(ClassLoss):
    """max(0, margin + d(x, own centre) - d(x, y)) over the y of other classes in the batch; d is 1 - cosine.

    Averaged over an embedding's terms above 0, then over the embeddings that have any.

    Args:    margin: in units of cosine.
    Source:  Izutov 2018 (RMNet, arXiv 1812.02465), push between pictures of a batch, whose margin is 0. Deviations: there y is of
             the same camera, here of any; the centres are weights of this loss, there those of the classifier beside it.
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.1):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.margin = margin

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        own = cosines(embeddings[:, None], self.weight[classes][:, None])[:, 0]  # (B, 1)
        between = cosines(embeddings, embeddings)  # (B, B)
        return mean_above_zero(self.margin + between - own, classes[:, None] != classes)
