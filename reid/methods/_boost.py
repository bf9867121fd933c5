"""Boosting over the slices of an embedding: how much of each pair the learners before have left to learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from reid.losses import PairLoss
from reid.losses.binomial import BinomialDeviance
from reid.pairs import Pairs, Rows, wide

BOOSTING = ("released", "paper", "none")
SHRINKAGE, START = 0.06, 0.5  # of the released code
FAR = 100.0  # a score so wrong that a loss is as steep as it becomes


def slices_of(pairs: Pairs, sizes: Sequence[int]) -> list[Pairs]:
    """The pairs as each slice of their embeddings has them, brought to length 1; sizes: of the slices, their sum is D."""
    anchors = _cut(pairs.anchors, sizes)
    blocks = [anchors if rows is pairs.anchors else _cut(rows, sizes) for rows in pairs.blocks]
    return [
        dataclasses.replace(pairs, anchors=anchors[m], blocks=tuple(rows[m] for rows in blocks))
        for m in range(len(sizes))
    ]


def _cut(rows: Rows, sizes: Sequence[int]) -> list[Rows]:
    parts = wide(rows.embeddings).split(list(sizes), dim=1)
    return [dataclasses.replace(rows, embeddings=F.normalize(part), unit=True) for part in parts]


def pair_weights(loss: PairLoss, pairs: Pairs, scores: Sequence[Tensor], boosting: str) -> list[Tensor]:
    """For each learner (B, N): the factor on what each pair adds to its loss, by the scores (B, N) of the learners before.

    The first has 1. Then it is the slope of the loss at the boosted score F, as a share of how steep the loss becomes for a
    pair that is wholly wrong: 0 where the learners before are right, 1 where they are wrong. Of learner m's score S_m
    `paper` makes F_m = (1 - n) F_(m-1) + n S_m with n = 2 / (m + 1).
    `released` counts in activations a = alpha (S - beta), times -negative_cost for a negative: they begin with 0.5, each
    learner adds 0.06 of its own, and negatives weigh twice. `none`: 1 for every learner.
    loss: a sum over pairs; BinomialDeviance for `released`. No gradient goes through the weights.
    """
    weights = [torch.ones_like(scores[0])]
    if boosting == "none":
        return weights * len(scores)
    boosted = torch.zeros_like(scores[0])
    steepest = loss.weights(_at(pairs, torch.where(pairs.positive, boosted - FAR, boosted + FAR)))
    if boosting == "released":
        assert isinstance(loss, BinomialDeviance)
        start = torch.where(pairs.positive, boosted + START, boosted - START / loss.negative_cost)
        boosted = loss.beta + start / loss.alpha
    for m, score in enumerate(scores[:-1], start=1):
        if boosting == "released":
            assert isinstance(loss, BinomialDeviance)
            boosted = boosted + SHRINKAGE * (score.detach() - loss.beta)
        else:
            boosted = torch.lerp(boosted, score.detach(), 2 / (m + 1))
        slopes = loss.weights(_at(pairs, boosted))
        share = torch.where(steepest == 0, 0.0, slopes / steepest.where(steepest != 0, 1.0))
        weights.append(torch.where(pairs.negative, 2 * share, share) if boosting == "released" else share)
    return weights


def boosted_losses(loss: PairLoss, learners: Sequence[Pairs], boosting: str) -> list[Tensor]:
    """A scalar for each learner: of the value of its own loss, with the gradient of its boosted loss.

    learners: of `slices_of`. The boosted loss is what a sum over pairs becomes when each pair's part is multiplied by its
    `pair_weights`; its gradient is that of sum(weight * dL/dS * S), weight and slope held constant.
    """
    scores = [pairs.similarity() for pairs in learners]
    weights = pair_weights(loss, learners[0], scores, boosting)
    found = []
    for pairs, score, weight in zip(learners, scores, weights, strict=True):
        own = _at(pairs, score.detach())
        surrogate = (weight * loss.weights(own) * score).sum()
        found.append(loss(own).detach() + surrogate - surrogate.detach())
    return found


def _at(pairs: Pairs, scores: Tensor) -> Pairs:
    """The same pairs with other scores."""
    return dataclasses.replace(pairs, score=scores, products=False)
