"""Alignment: positives near each other, each pair by how far its neighbourhoods agree."""

from __future__ import annotations

import torch
from torch import Tensor

from reid.losses import PairLoss
from reid.pairs import Pairs, wide


class Alignment(PairLoss):
    """The squared distance of unit vectors over all positive pairs, averaged by weights.

    The weight of a pair is the Jaccard index of its k-reciprocal neighbourhoods among anchors and references, each row
    among its own: a pair whose surroundings differ, as of a picture that an augmentation has spoilt, counts less. Weights
    are constants to the gradient. 0 neighbours weighs all alike.

    Args:    num_neighbours: k. They are looked for among all rows, so beside a memory of N the cost is N x N.
    Source:  Wang and Isola 2020; the weights are those of Cho et al. 2024 (BAU), who take strong views as anchors and weak
             ones as references.
    """

    def __init__(self, num_neighbours: int = 10):
        super().__init__()
        self.num_neighbours = num_neighbours

    def usable(self, pairs: Pairs) -> Tensor:
        return pairs.positive.amax(dim=1)

    def forward(self, pairs: Pairs) -> Tensor:
        weights = (
            self._agreement(pairs) if self.num_neighbours else torch.ones_like(pairs.positive, dtype=torch.float32)
        )
        weights = weights.masked_fill(~pairs.positive, 0)
        squared = 2 - 2 * pairs.similarity()
        return (weights * squared).sum() / weights.sum().clamp_min(1e-12)

    @torch.no_grad()
    def _agreement(self, pairs: Pairs) -> Tensor:
        """(B, N) in 0..1."""
        pairs.expect_products("neighbourhoods")
        num = len(pairs.anchors)
        blocks = list(pairs.blocks)
        if blocks[0] is not pairs.anchors:
            blocks.insert(0, pairs.anchors)
        rows = torch.cat([wide(block.embeddings) for block in blocks])
        with torch.autocast(rows.device.type, enabled=False):
            near = (rows @ rows.T).fill_diagonal_(torch.inf)  # every row is the nearest to itself
            found = near.topk(min(self.num_neighbours, len(rows)), dim=1).indices
            chosen = torch.zeros_like(near).scatter_(1, found, 1)
            mutual = chosen * chosen.T
            ours, theirs = mutual[:num], mutual[len(rows) - pairs.positive.shape[1] :]
            common = ours @ theirs.T
            union = ours.sum(dim=1)[:, None] + theirs.sum(dim=1) - common
        return common / (union + 1e-6)
