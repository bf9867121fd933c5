"""Hierarchical triplet loss: a margin for each pair of classes, from a tree of the classes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor

from reid.losses import PairLoss
from reid.losses._triplets import active
from reid.pairs import Pairs
from reid.plan import Plan


class HierarchicalTriplet(PairLoss):
    """All triplets, each with the margin of its anchor's and its negative's class: wide where the tree joins them late.

    margin + d_H(anchor's class, negative's class) - s(anchor's class), where d_H is the threshold of the level at which
    the tree joins the two and s the mean distance within the anchor's class. Distances are squared ones of unit vectors,
    0..4. The tree is built anew before each epoch; until the first there is the plain margin. Half the mean over all
    triplets, active or not.

    Args:
        margin: least margin, the paper's beta.
        levels: L; level l = 0..L joins what is nearer than l (4 - d_0) / L + d_0, where d_0 is the mean of s.
    Raises ValueError where levels is not 1 to 255.
    Source:  Ge et al. 2018 (HTL), as recalled, 0.1 and 16 levels too; the paper was not at hand. Not recalled and so
             chosen here: the distance between groups of classes is the mean over their pairs; distances are squared.
    """

    normalize = True
    needs = frozenset({"distances"})
    levels: Tensor
    thresholds: Tensor
    spreads: Tensor

    def __init__(self, num_classes: int, margin: float = 0.1, levels: int = 16):
        super().__init__()
        if not 1 <= levels <= 255:
            raise ValueError(f"LEVELS is {levels}; expected 1 to 255")
        self.margin, self.num_levels = margin, levels
        # Level, threshold and spread in place of (C, C) margins: a byte a pair in every checkpoint, not four.
        self.register_buffer("levels", torch.zeros(num_classes, num_classes, dtype=torch.uint8))
        self.register_buffer("thresholds", torch.zeros(levels + 1, dtype=torch.float32))  # d_l
        self.register_buffer("spreads", torch.zeros(num_classes, dtype=torch.float32))  # s

    @torch.no_grad()
    def use_plan(self, plan: Plan) -> None:
        distances = plan.distances
        assert distances is not None, "the method gives what a loss needs"
        within, between = distances.diagonal().clone(), distances.clone().fill_diagonal_(0)
        thresholds = torch.lerp(
            within.mean(), within.new_tensor(4.0), torch.arange(self.num_levels + 1) / self.num_levels
        )
        tree = hierarchy.average(squareform(between.numpy(), checks=False))
        joined = squareform(hierarchy.cophenet(tree).astype(np.float32))  # (C, C) distance at which the tree joins two
        levels = torch.bucketize(torch.from_numpy(joined), thresholds, right=True).clamp_max(self.num_levels)
        self.levels.copy_(levels)
        self.thresholds.copy_(thresholds)
        self.spreads.copy_(within)

    def forward(self, pairs: Pairs) -> Tensor:
        distances = 2 - 2 * pairs.similarity()  # (B, N)
        levels = self.levels[pairs.anchors.classes][:, pairs.ref_classes]
        margins = self.margin + self.thresholds[levels.int()] - self.spreads[pairs.anchors.classes][:, None]
        pulls, pushes = active(distances.detach(), margins, pairs)
        triplets = (pairs.positive.sum(dim=1) * pairs.negative.sum(dim=1)).sum().clamp_min(1)
        return ((pulls - pushes) / triplets * distances + pushes / triplets * margins).sum() / 2
