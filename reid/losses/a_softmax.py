"""Angular softmax, the loss of SphereFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own
from reid.pairs import wide


class ASoftmax(ClassLoss):
    """Cross-entropy of |x| cos θ, the own class's angle θ multiplied by a whole margin m: |x| ψ(θ).

    ψ(θ) = (-1)^k cos(mθ) - 2k for θ in [kπ/m, (k+1)π/m] falls from 1 to 1 - 2m over [0, π]. Training cannot start from
    it: the own entry is (λ cos θ + ψ(θ)) / (1 + λ), where λ = max(LAMBDA_MIN, LAMBDA_START / (1 + GAMMA step)).

    Args:    margin: m, a whole number from 1. lambda_start, lambda_min, gamma: how ψ is blended in; both lambdas 0 is ψ.
    Source:  Liu et al. 2017, SphereFace; the blending and its defaults are of the authors' released
             setting. Deviation: a step is counted once it was taken, so that the first one has λ = LAMBDA_START.
    """

    steps: Tensor

    def __init__(
        self,
        num_classes: int,
        dim: int,
        margin: int = 4,
        lambda_start: float = 1000.0,
        lambda_min: float = 5.0,
        gamma: float = 0.12,
    ):
        super().__init__()
        if margin < 1:
            raise ValueError(f"MARGIN is {margin}; expected a whole number from 1")
        self.weight = directions(num_classes, dim)
        self.margin = margin
        self.lambda_start, self.lambda_min, self.gamma = lambda_start, lambda_min, gamma
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def after_step(self) -> None:
        self.steps += 1

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        norms = wide(embeddings).norm(dim=1, keepdim=True)  # (B, 1)
        blend = (self.lambda_start / (1 + self.gamma * self.steps)).clamp_min(self.lambda_min)
        cosine = on_own(
            cosines(embeddings, self.weight), classes, lambda own: (blend * own + self._psi(own)) / (1 + blend)
        )
        return F.cross_entropy(norms * cosine, classes)

    def _psi(self, cosine: Tensor) -> Tensor:
        angle = cosine.detach().clamp(-1, 1).acos()
        k = (angle * self.margin / math.pi).floor().clamp_max(self.margin - 1)
        # cos(mθ) as a polynomial of cos θ: the gradient of acos is infinite at both ends.
        before, multiple = torch.ones_like(cosine), cosine
        for _ in range(self.margin - 1):
            before, multiple = multiple, 2 * cosine * multiple - before  # cos((n+1)θ) = 2 cos θ cos nθ - cos((n-1)θ)
        return (1 - 2 * (k % 2)) * multiple - 2 * k
