"""A method of two stages: a centre of every class moves among still features; then the encoder learns to find the centres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.methods import Method, Phase
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics


class TwoStages(Method):
    """For two SOLVER.STAGES with LEARNS [centres] and LEARNS [encoder]. temperature: of the cosines to the centres."""

    encoder: Encoder
    begun: Tensor

    def __init__(self, encoder: Encoder, num_classes: int, temperature: float = 0.1):
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.centres = nn.Parameter(torch.randn(num_classes, encoder.dim))
        self.register_buffer("begun", torch.zeros(2, dtype=torch.int64))  # the epoch in which each stage began

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> None:
        if epoch == self.place.epochs.start:
            self.begun[self.place.stage] = epoch

    def phases(self, batch: Batch) -> Iterator[Phase]:
        centres = F.normalize(self.centres)
        if self.place.stage == 0:
            with hold_statistics(self.encoder):
                features = F.normalize(self.encoder(batch.images)["after"])
            yield Phase({"apart": (features - centres[batch.classes]).square().sum(dim=1).mean()})
            return
        cosines = F.linear(F.normalize(self.encoder(batch.images)["after"]), centres)
        steps = batch.step - self.begun[1] * self.place.steps_per_epoch  # of this stage
        share = steps / len(self.place.epochs) / self.place.steps_per_epoch  # the centres count for more and more
        yield Phase({"found": (0.5 + share / 2) * F.cross_entropy(cosines / self.temperature, batch.classes)})

    def encode_query(self, images: Tensor) -> Tensor:
        return F.normalize(self.encoder(images)["after"])

    def param_groups(self) -> list[dict[str, Any]]:
        encoder = [p for p in self.encoder.parameters() if p.requires_grad]
        return [
            {"name": "encoder", "params": encoder},
            {"name": "centres", "params": [self.centres], "weight_decay": 0.0},
        ]
