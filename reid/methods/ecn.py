"""ECN's exemplar memory: every training picture is a class of its own, and shares it with its nearest neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.memory import IdentityBank
from reid.methods import Method
from reid.models.encoder import Encoder


class ECN(Method):
    """Learns an encoder from pictures without labels, by a memory of one unit row a training picture; scored by cosine.

    `exemplar` draws each picture to its own row, away from all others; `neighbour`, once rows are worth comparing,
    draws it to the rows nearest to it. Labels reach it through the sampler alone: SAMPLER shuffle takes none.

    Args:
        num_neighbours: rows a picture is drawn to, its own among them if it is near. neighbours_from: the epoch, counted
            from 0, that first has `neighbour`. temperature: of the cosines.
        momentum: weight of a row's old value when it is renewed, a step of this much per epoch: 0 in epoch 0.
    Source: Zhong et al. 2019, Invariance Matters, and the authors' code for what is averaged. Deviations: the paper
        trains on a labelled source besides and on pictures of the target; here the sources' pictures take the target's
        place and nobody's labels are used. Camera invariance, which needs pictures restyled by a GAN, is left out. Rows
        are renewed after the step, by the mean where a batch holds a picture twice; the momentum stops at 1.
    """

    only_training = ("exemplars.",)
    encoder: Encoder

    def __init__(
        self,
        encoder: Encoder,
        num_samples: int,
        num_neighbours: int = 6,
        neighbours_from: int = 5,
        temperature: float = 0.05,
        momentum: float = 0.01,
    ):
        super().__init__()
        if not 1 <= num_neighbours <= num_samples:
            raise ValueError(f"NUM_NEIGHBOURS is {num_neighbours}; expected 1 to {num_samples}, the training pictures")
        self.encoder = encoder
        self.num_neighbours, self.neighbours_from = num_neighbours, neighbours_from
        self.temperature, self.momentum = temperature, momentum
        # A row is zero until its picture is first seen: a logit of 0, and no gradient from it.
        self.exemplars = IdentityBank(num_samples, encoder.dim, first_visit="blend")

    def __repr__(self) -> str:
        return f"<ecn {self.encoder!r}, {len(self.exemplars.rows):,} exemplars, {self.num_neighbours} neighbours>"

    def training_losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        embeddings = F.normalize(self.encoder(batch.images, batch.domains, batch.camids)["after"])
        with torch.autocast(embeddings.device.type, enabled=False):
            similarity = embeddings @ self.exemplars.rows.T  # (B, N)
        log_shares = (similarity / self.temperature).log_softmax(dim=1)
        own = batch.indices[:, None]
        losses = {"exemplar": -log_shares.gather(1, own).mean()}
        if batch.epoch >= self.neighbours_from:
            nearest = similarity.topk(self.num_neighbours).indices  # (B, k)
            others = log_shares.gather(1, nearest) * (nearest != own)
            losses["neighbour"] = -others.sum(dim=1).mean() / self.num_neighbours
        epochs = torch.full_like(batch.indices, batch.epoch)
        return losses, {"embeddings": embeddings.detach(), "indices": batch.indices, "epochs": epochs}

    def remember(self, keep: dict[str, Tensor]) -> None:
        self.exemplars.momentum = min(1.0, self.momentum * int(keep["epochs"][0]))
        self.exemplars.update(keep["embeddings"], keep["indices"])

    def encode_query(self, images: Tensor) -> Tensor:
        return F.normalize(self.encoder(images)["after"])

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"name": "encoder", "params": [p for p in self.encoder.parameters() if p.requires_grad]}]
