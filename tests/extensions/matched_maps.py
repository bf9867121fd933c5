"""A toy: pictures are compared place by place, by a matcher of their feature maps that learns by triplet on its scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.losses.triplet import Triplet
from reid.methods import Method
from reid.pairs import Pairs, Rows
from reid.similarity import Inner, Similarity
from reid.similarity.matched import Matched, Rescored


class MatchedMaps(Method):
    """A score is the mean over places of the best cosine that a place finds in the other map, of both directions.

    first: 0: every pair is matched; else each query's first so many by the mean over places.
    """

    inner_product = False
    features = ("map",)

    def __init__(self, encoder, first: int = 0, margin: float = 0.1):
        super().__init__()
        self.encoder, self.first = encoder, first
        self.rescoring = f"first {first} rescored" if first else ""
        self.triplet = Triplet(margin, distance="score")
        self.channels = nn.Parameter(torch.ones(encoder.backbone.num_features))  # what each is worth to the matcher

    def match(self, query: Tensor, gallery: Tensor) -> Tensor:
        """Maps (B, C, h, w), (N, C, h, w) -> (B, N)."""
        one, other = (F.normalize(maps.flatten(2) * self.channels[:, None], dim=1) for maps in (query, gallery))
        cosines = torch.einsum("bcp,ncq->bnpq", one, other)
        return (cosines.amax(dim=3).mean(dim=2) + cosines.amax(dim=2).mean(dim=2)) / 2

    def training_losses(self, batch):
        rows = Rows.of(self.encode_query(batch.images), batch.classes, batch.domains, batch.indices)
        return {"triplet": self.triplet(Pairs.within(rows, score=self.match))}, {}

    def encode_query(self, images: Tensor) -> Tensor:
        return self.encoder(images)["map"]

    def similarity(self, query: Tensor, gallery: Tensor) -> Similarity:
        matched = Matched(self.match, query, gallery, symmetric=True, device=self.channels.device)
        if not self.first:
            return matched
        means = [F.normalize(maps.mean(dim=(2, 3))) for maps in (query, gallery)]
        return Rescored(Inner(*means), matched, self.first)

    def param_groups(self):
        return [{"name": "matcher", "params": [*self.encoder.parameters(), self.channels]}]
