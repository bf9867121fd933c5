"""Additive angular margin softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own


class ArcFace(ClassLoss):
    """Cross-entropy of scaled cosines, the own class's angle θ enlarged by a margin m: cos(θ + m).

    cos(θ + m) rises again beyond θ = π - m; there the own entry is cos θ - m sin m, which keeps falling.

    Args:
        margin: m in radians, 0 up to π. scale: of all cosines.
        easy_margin: the margin only where θ < π/2, plain cos θ elsewhere, in place of that fallback.
    Source:  Deng et al. 2019, ArcFace, eq. 3. The fallback and the easy margin are of the authors' code, not in eq. 3.
    """

    def __init__(self, num_classes: int, dim: int, margin: float = 0.5, scale: float = 64.0, easy_margin: bool = False):
        super().__init__()
        if not 0 <= margin < math.pi:
            raise ValueError(f"MARGIN is {margin}; expected radians, 0 up to, not including, pi")
        self.weight = directions(num_classes, dim)
        self.margin, self.scale, self.easy_margin = margin, scale, easy_margin

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        logits = on_own(cosines(embeddings, self.weight), classes, self._enlarge)  # (B, C)
        return F.cross_entropy(self.scale * logits, classes)

    def logits(self, embeddings: Tensor) -> Tensor:
        return self.scale * cosines(embeddings, self.weight)

    def _enlarge(self, cosine: Tensor) -> Tensor:
        # The floor keeps the gradient finite where an embedding lies on its class's row or opposite it.
        sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
        enlarged = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        if self.easy_margin:
            return torch.where(cosine > 0, enlarged, cosine)
        return torch.where(cosine >= -math.cos(self.margin), enlarged, cosine - self.margin * math.sin(self.margin))
