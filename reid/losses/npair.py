"""N-pair loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean
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
        later = (pairs.classes[:, None] == pairs.classes).tril(-1).any(dim=1)  # (B,) not the first of its class
        rows = (pairs.positive.any(dim=1) & ~later).nonzero().squeeze(1)  # (C,)
        columns = pairs.positive[rows].int().argmax(dim=1)  # (C,) the first that is True
        alone = (pairs.classes[:, None] != pairs.ref_classes).all(dim=0).nonzero().squeeze(1)
        if len(alone):
            columns = torch.cat([columns, alone[_first(pairs.ref_classes[alone])]])  # (C + others,)
        negative = pairs.negative[rows[:, None], columns]
        similarity = pairs.similarity().index_select(0, rows).index_select(1, columns)
        losses = F.softplus(logsumexp(similarity - similarity.diagonal()[:, None], negative))
        if self.l2:
            anchors, positives = (x.to(losses.dtype) for x in (pairs.anchors[rows], pairs.refs[columns[: len(rows)]]))
            losses = losses + self.l2 / 2 * (anchors.square() + positives.square()).sum(dim=1)
        return mean(losses, negative.any(dim=1))


def _first(classes: Tensor) -> Tensor:
    """The first row of each class."""
    values, of = classes.unique(return_inverse=True)
    last = classes.new_full((len(values),), len(classes))
    return last.scatter_reduce(0, of, torch.arange(len(classes), device=classes.device), "amin")
