"""Margin loss with distance-weighted sampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.pairs import Pairs


class Margin(PairLoss):
    """Margin loss: positives nearer than beta - margin, drawn negatives farther than beta + margin; beta is learnt.

    For each positive of an anchor one negative of it is drawn, so that near and far distances come up alike although
    on a sphere of many dimensions nearly all pairs are sqrt(2) apart. Summed over anchors that have a positive and a
    negative; divided by the number of terms above 0. An anchor whose negatives are all beyond `nonzero_cutoff` draws
    none: their terms would be 0 for the first beta.

    The draws are a function of the distances and of how many steps were taken (a buffer), so that the same step always
    draws the same and a resumed run what an unbroken one does.

    Args:
        margin: half the gap between positives and negatives, in Euclidean distance of unit vectors.
        beta: the boundary every class starts with. It learns with the rate LR * LR_FACTOR.
        nu: weight of the boundaries themselves, summed over the positive pairs and divided likewise.
        cutoff: nearer negatives are drawn as if they were at this distance.
        nonzero_cutoff: negatives at this distance or farther are not drawn.
    Source:  Wu et al. 2017, Sampling Matters; cutoffs and defaults are those of the author's code. Deviation: an
             anchor with nothing to draw draws nothing; the code then draws from the whole batch, positives included.
    """

    steps: Tensor

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.2,
        beta: float = 1.2,
        nu: float = 0.0,
        cutoff: float = 0.5,
        nonzero_cutoff: float = 1.4,
    ):
        super().__init__()
        if not 0 < cutoff < nonzero_cutoff:
            raise ValueError(
                f"CUTOFF is {cutoff}, NONZERO_CUTOFF {nonzero_cutoff}; expected 0 < CUTOFF < NONZERO_CUTOFF"
            )
        self.margin, self.nu, self.cutoff, self.nonzero_cutoff = margin, nu, cutoff, nonzero_cutoff
        self.beta = nn.Parameter(torch.full((num_classes,), float(beta), dtype=torch.float32))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, pairs: Pairs) -> Tensor:
        distances = pairs.distances()  # (B, N)
        rows, columns = (pairs.positive & self.usable(pairs)[:, None]).nonzero(as_tuple=True)
        anchors, drawn = self.draw(pairs, distances.detach())
        beta = self.beta[pairs.anchors.classes]  # (B,)
        pull = F.relu(distances[rows, columns] - beta[rows] + self.margin)
        push = F.relu(beta[anchors] - distances[anchors, drawn] + self.margin)
        num_terms = (pull > 0).sum() + (push > 0).sum()
        return (pull.sum() + push.sum() + self.nu * beta[rows].sum()) / num_terms.clamp_min(1)

    def after_step(self) -> None:
        self.steps += 1

    def draw(self, pairs: Pairs, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of the drawn negatives, (T,) each: as many for an anchor as it has positives."""
        near = pairs.negative & (distances < self.nonzero_cutoff)
        counts = pairs.positive.sum(dim=1) * near.any(dim=1)  # (B,)
        weights = self.log_weights(distances, pairs.anchors.embeddings.shape[1])
        # Logarithms up to the softmax: at 512 dimensions they span 370, and exp alone would make whole rows 0.
        # A row without a near negative becomes uniform here and draws nothing, by its count.
        probability = weights.masked_fill(~near, torch.finfo(weights.dtype).min).softmax(dim=1)
        generator = torch.Generator(distances.device).manual_seed(int(self.steps))
        most = max(1, int(counts.max()))
        drawn = torch.multinomial(probability, most, replacement=True, generator=generator)  # (B, most)
        rows, which = (torch.arange(most, device=counts.device) < counts[:, None]).nonzero(as_tuple=True)
        return rows, drawn[rows, which]

    def log_weights(self, distances: Tensor, dim: int) -> Tensor:
        """Minus the log density of the distance between two random points of the unit sphere in `dim` dimensions."""
        distances = distances.clamp_min(self.cutoff)
        room = (1 - distances.square() / 4).clamp_min(1e-6)  # 0 between opposite points
        return (2 - dim) * distances.log() - (dim - 3) / 2 * room.log()
