"""N-pair loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import mean
from reid.pairs import Pairs


class NPair(PairLoss):
    """N-pair loss: one anchor and one positive an identity; the other identities' positives are the negatives.

    An identity's first image is its anchor and its second its positive; further ones are not used. Averaged over the
    identities that have both and a negative. An identity that only the references hold (a remembered one) gives its
    first row as one more negative.

    Args:    l2: weight of (|anchor|^2 + |positive|^2) / 2, averaged alike; it keeps raw inner products from growing.
    Source:  Sohn 2016, the multi-class N-pair loss: raw inner products. The extra negatives are a deviation; within a
             batch of pairs there are none.
    """

    normalize = False

    def __init__(self, l2: float = 0.0):
        super().__init__()
        self.l2 = l2

    def forward(self, pairs: Pairs) -> Tensor:
        classes = pairs.anchors.classes
        numbers = torch.arange(len(classes), device=classes.device)
        earliest = (classes[:, None] == classes).max(dim=1).indices  # (B,) the first row of its class
        paired, first = pairs.positive.max(dim=1)  # first: of those that are True
        rows = (paired & (earliest == numbers)).nonzero().squeeze(1)  # (C,)
        columns = first[rows]
        if not pairs.itself:
            alone = (classes[:, None] != pairs.ref_classes).all(dim=0).nonzero().squeeze(1)
            columns = torch.cat([columns, alone[_first(pairs.ref_classes[alone])]])  # (C + others,)
        negative = pairs.negative.index_select(0, rows).index_select(1, columns)
        complete = negative.any(dim=1)
        scores = pairs.similarity_of(rows, columns)  # the positives on the diagonal
        scores = scores.masked_fill(~negative.fill_diagonal_(True), torch.finfo(scores.dtype).min)
        targets = numbers[: len(rows)].masked_fill(~complete, -100)  # left out
        loss = F.cross_entropy(scores, targets, reduction="sum") / complete.sum().clamp_min(1)
        if self.l2:
            ends = (pairs.anchors.embeddings[rows], pairs.refs_of(columns[: len(rows)]))
            anchors, positives = (x.to(loss.dtype) for x in ends)
            loss = loss + self.l2 / 2 * mean((anchors.square() + positives.square()).sum(dim=1), complete)
        return loss


def _first(classes: Tensor) -> Tensor:
    """The first row of each class."""
    values, of = classes.unique(return_inverse=True)
    last = classes.new_full((len(values),), len(classes))
    return last.scatter_reduce(0, of, torch.arange(len(classes), device=classes.device), "amin")
