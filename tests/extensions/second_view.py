"""A method with a second view of each picture: it learns to embed a picture and its strongly augmented view alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses.softmax import Softmax
from reid.methods import Method
from reid.models.encoder import Encoder


class SecondView(Method):
    """Softmax on the images, and WEIGHT times the mean of 1 - cosine between each image and its view `strong`.

    Args: weight: of the second.
    """

    encoder: Encoder
    views = frozenset({"strong"})

    def __init__(self, encoder: Encoder, num_classes: int, weight: float = 1.0):
        super().__init__()
        self.encoder, self.weight = encoder, weight
        self.classifier = Softmax(num_classes, encoder.dim)

    def training_losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        both = self.encoder(torch.cat([batch.images, batch.views["strong"]]))["after"]
        images, strong = both.chunk(2)
        apart = 1 - F.cosine_similarity(images, strong)
        return {"softmax": self.classifier(images, batch.classes), "consistency": self.weight * apart.mean()}, {}

    def encode_query(self, images: Tensor) -> Tensor:
        return F.normalize(self.encoder(images)["after"])

    def param_groups(self) -> list[dict[str, Any]]:
        parts: dict[str, nn.Module] = {"encoder": self.encoder, "classifier": self.classifier}
        return [
            {"name": name, "params": [p for p in part.parameters() if p.requires_grad]} for name, part in parts.items()
        ]
