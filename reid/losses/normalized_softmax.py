"""Identity classification by cosines."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions


class NormalizedSoftmax(ClassLoss):
    """Cross-entropy of the cosines between embeddings and classes' weights, divided by a temperature.

    Args:    temperature: 1 / the scale of the cosines; without it they span 2 at most and the loss cannot fall.
    Source:  Zhai and Wu 2019, Classification is a Strong Baseline for Deep Metric Learning; the default is that of
             pytorch-metric-learning. Deviation: their layer norm and their sampler are the encoder's neck and SAMPLER.
    """

    def __init__(self, num_classes: int, dim: int, temperature: float = 0.05):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(embeddings), classes)

    def logits(self, embeddings: Tensor) -> Tensor:
        return cosines(embeddings, self.weight) / self.temperature
