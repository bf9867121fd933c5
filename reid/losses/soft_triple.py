"""Softmax with several centres per class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own


class SoftTriple(ClassLoss):
    """Cross-entropy of each embedding's similarity to classes of several centres, nearer centres counting more.

    A regulariser draws the centres of a class together, so that only as many stay apart as the class needs.

    Args:
        num_centers: K, of each class. scale: of the similarities (the paper's λ). gamma: temperature of the weights of
        a class's centres. tau: weight of the regulariser. margin: taken off the own class's similarity (δ).
    Source:  Qian et al. 2019, SoftTriple Loss, with the released code's settings; its centres learn at
             100 times the encoder's rate (LR_FACTOR 100 at 1e-4).
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        num_centers: int = 10,
        scale: float = 20.0,
        gamma: float = 0.1,
        tau: float = 0.2,
        margin: float = 0.01,
    ):
        super().__init__()
        if num_centers < 1:
            raise ValueError(f"NUM_CENTERS is {num_centers}; expected 1 or more")
        self.weight = directions(num_classes * num_centers, dim)
        self.num_centers, self.scale, self.gamma, self.tau, self.margin = num_centers, scale, gamma, tau, margin

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        similarity = cosines(embeddings, self.weight).unflatten(1, (-1, self.num_centers))  # (B, C, K)
        relaxed = (similarity * (similarity / self.gamma).softmax(dim=2)).sum(dim=2)  # (B, C)
        logits = on_own(relaxed, classes, lambda own: own - self.margin)
        return F.cross_entropy(self.scale * logits, classes) + self.tau * self._spread()

    def _spread(self) -> Tensor:
        """Half the mean distance between two centres of a class, (); 0 for single centres."""
        centers = self.weight.unflatten(0, (-1, self.num_centers))  # (C, K, D)
        # 1e-5, as in the authors' code: the root's gradient is infinite where two centres have merged.
        distances = (2 + 1e-5 - 2 * cosines(centers, centers)).sqrt().triu(1)  # (C, K, K)
        return distances.sum() / max(1, len(self.weight) * (self.num_centers - 1))
