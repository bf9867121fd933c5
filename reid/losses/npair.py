"""N-pair loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp
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
        similarity = pairs.similarity()  # (B, N)
        rows = (_first(pairs.classes) & pairs.positive.any(dim=1)).nonzero().squeeze(1)  # (C,)
        positive = pairs.positive[rows].int().argmax(dim=1)  # (C,) the first that is True
        alone = _first(pairs.ref_classes) & ~torch.isin(pairs.ref_classes, pairs.classes)
        columns = torch.cat([positive, alone.nonzero().squeeze(1)])  # (C + others,)
        negative = pairs.negative[rows[:, None], columns]
        gaps = similarity[rows[:, None], columns] - similarity[rows, positive][:, None]
        losses = F.softplus(logsumexp(gaps, negative))
        if self.l2:
            anchors, positives = (x.to(losses.dtype) for x in (pairs.anchors[rows], pairs.refs[positive]))
            losses = losses + self.l2 / 2 * (anchors.square() + positives.square()).sum(dim=1)
        losses = losses[negative.any(dim=1)]
        return losses.sum() / max(1, len(losses))


def _first(classes: Tensor) -> Tensor:
    """(N,) bool: the first row of each class."""
    where = torch.arange(len(classes), device=classes.device)
    values, inverse = classes.unique(return_inverse=True)
    first = where.new_full((len(values),), len(classes)).scatter_reduce(0, inverse, where, "amin")
    return first[inverse] == where
