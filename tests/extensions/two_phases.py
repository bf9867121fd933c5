"""A method of two steps per batch: the encoder learns; then gates, through a step of their own that is taken back again.

The gates scale the embedding's columns. They learn to be such that one gradient step of them on one half of the batch
helps the other half: the gradient of the second half's loss goes through that step, so it is of second order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses.softmax import Softmax
from reid.methods import Method, Phase
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics


class TwoPhases(Method):
    """Args: inner_lr: of the step on the first half, taken anew for every batch."""

    encoder: Encoder
    seen: Tensor

    several_steps = True

    def __init__(self, encoder: Encoder, num_classes: int, inner_lr: float = 0.5):
        super().__init__()
        self.encoder, self.inner_lr = encoder, inner_lr
        self.classifier = Softmax(num_classes, encoder.dim)
        self.gates = nn.Parameter(torch.zeros(encoder.dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # pictures remembered

    def gated(self, features: Tensor, gates: Tensor) -> Tensor:
        return features * (1 + gates.tanh())

    def phases(self, batch: Batch) -> Iterator[Phase]:
        embeddings = self.encoder(batch.images)["after"]
        base = self.classifier(self.gated(embeddings, self.gates), batch.classes)
        yield Phase({"base": base}, learns=["encoder", "classifier"], keep={"rows": embeddings.detach()})
        with hold_statistics(self.encoder), torch.no_grad():
            features = self.encoder(batch.images)["after"]  # of the encoder that has just learned
        one, other = features.tensor_split(2), batch.classes.tensor_split(2)
        inner = self.classifier(self.gated(one[0], self.gates), other[0])
        (gradient,) = self.inner_grad(inner, [self.gates], create_graph=True)
        meta = self.classifier(self.gated(one[1], self.gates - self.inner_lr * gradient), other[1])
        yield Phase({"meta": meta}, learns=["gates"], counts={"meta_steps": torch.ones((), dtype=torch.int64)})

    def remember(self, keep: dict[str, Tensor]) -> None:
        self.seen += len(keep["rows"])

    def encode_query(self, images: Tensor) -> Tensor:
        return F.normalize(self.gated(self.encoder(images)["after"], self.gates))

    def param_groups(self) -> list[dict[str, Any]]:
        parts: dict[str, Any] = {"encoder": self.encoder.parameters(), "classifier": self.classifier.parameters()}
        groups = [{"name": name, "params": [p for p in part if p.requires_grad]} for name, part in parts.items()]
        return [*groups, {"name": "gates", "params": [self.gates], "lr_factor": 10.0, "weight_decay": 0.0, "clip": 1.0}]
