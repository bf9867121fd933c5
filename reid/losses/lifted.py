"""Lifted structure loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses._masked import logsumexp, mean
from reid.pairs import Pairs

FORMS = ("paper", "generalized")


class Lifted(PairLoss):
    """Lifted structure loss: a positive pair against all negatives of both its images.

    Averaged, halved, over the positive pairs with a negative at either end; `generalized`, over the anchors with both.

    Args:
        margin: in units of Euclidean distance; 1 in the paper.
        form: `paper`, or `generalized`: a soft maximum over each anchor's positives instead of one term a pair.
        normalize: unit vectors instead of the paper's raw ones.
    Source:  Song et al. 2016; `generalized` is Hermans et al. 2017, In Defense of the Triplet Loss. Deviation: the
             paper's form is for a batch only. Where references are not the anchors themselves, their own negatives are
             unknown, and only the anchor's are taken.
    """

    def __init__(self, margin: float = 1.0, form: str = "paper", normalize: bool = False):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"FORM: no {form}; there are {', '.join(FORMS)}")
        self.margin, self.form, self.normalize = margin, form, normalize

    def forward(self, pairs: Pairs) -> Tensor:
        distances = pairs.distances()  # (B, N)
        negatives = logsumexp(self.margin - distances, pairs.negative)  # (B,)
        if self.form == "generalized":
            return mean(F.relu(logsumexp(distances, pairs.positive) + negatives), self.usable(pairs))
        rows, columns = pairs.positive.nonzero(as_tuple=True)
        either, known = negatives[rows], pairs.negative.any(dim=1)[rows]
        if pairs.itself:
            either, known = torch.logaddexp(either, negatives[columns]), known | pairs.negative.any(dim=1)[columns]
        return mean(F.relu(either + distances[rows, columns]).square() / 2, known)
