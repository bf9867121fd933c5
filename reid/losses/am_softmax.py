"""Additive margin softmax, which is also CosFace."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own


class AMSoftmax(ClassLoss):
    """Cross-entropy of scaled cosines, the own class's lowered by a margin.

    Args:    margin: in units of cosine. scale: of all cosines.
    Source:  Wang et al. 2018, Additive Margin Softmax, with the margin and scale of the authors' released setting. The
             same formula is CosFace (Wang et al. 2018), whose usual setting is 0.35 and 64.
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.35, scale: float = 30.0):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.margin, self.scale = margin, scale

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        logits = on_own(cosines(embeddings, self.weight), classes, lambda own: own - self.margin)  # (B, C)
        return F.cross_entropy(self.scale * logits, classes)
