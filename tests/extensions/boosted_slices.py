"""A boosted pair loss on slices of an embedding: each slice learns what the slices before it get wrong."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from reid.losses import PairLoss
from reid.losses.binomial import BinomialDeviance
from reid.pairs import Pairs, Rows


class BoostedSlices(PairLoss):
    """Mean over slices m = 1..M of sum(W_m S_m): the slice's cosines S_m, weighted by dL/dS at the boosted scores before it.

    L is the binomial deviance. F_0 = 0, F_m = (1 - n_m) F_(m-1) + n_m S_m with n_m = 2 / (m + 1); W_m = dL/dS at F_(m-1).

    Args:    num_slices: M, of nearly equal width.
    Source:  Opitz et al. 2017 (BIER), the recursion of the paper. Deviations: equal slices, no loss for their diversity,
             and each slice takes the linear loss that the weights are the gradient of.
    """

    normalize = False  # a slice is brought to length 1 by itself

    def __init__(self, num_slices: int = 3):
        super().__init__()
        self.num_slices, self.loss = num_slices, BinomialDeviance()

    def usable(self, pairs: Pairs) -> Tensor:
        return self.loss.usable(pairs)

    def forward(self, pairs: Pairs) -> Tensor:
        slices = [self._slice(pairs, m).similarity() for m in range(self.num_slices)]  # (B, N) each
        boosted, total = torch.zeros_like(slices[0]), slices[0].new_zeros(())
        for m, scores in enumerate(slices, start=1):
            total = total + (self.loss.weights(dataclasses.replace(pairs, score=boosted)) * scores).sum()
            boosted = torch.lerp(boosted, scores.detach(), 2 / (m + 1))
        return total / self.num_slices

    def _slice(self, pairs: Pairs, m: int) -> Pairs:
        def cut(rows: Rows) -> Rows:
            embeddings = rows.embeddings.tensor_split(self.num_slices, dim=1)[m]
            return Rows(embeddings, rows.classes, rows.domains, rows.indices).normalized()

        return dataclasses.replace(pairs, anchors=cut(pairs.anchors), blocks=tuple(map(cut, pairs.blocks)))
