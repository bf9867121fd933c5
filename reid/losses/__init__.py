"""Losses: one file each; the config's NAME is the file's name, the constructor's signature its options.

A loss is one of two kinds and knows nothing of memories, samplers or domains. `num_classes` and `dim` in a constructor
are injected, never options.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reid.pairs import Pairs, Rows
from reid.plan import Plan


class Loss(nn.Module):
    """What both kinds share. State that anneals lives in buffers, so that a resumed run equals an unbroken one.

    needs: the fields of a `Plan` that the loss goes by; the method has to give them.
    needs_domains: it compares domains, of which there must be two or more.
    """

    needs: frozenset[str] = frozenset()
    needs_domains = False

    def use_plan(self, plan: Plan) -> None:
        """Before each epoch that brings a new plan, where the loss needs something of it: what is kept lies in buffers."""

    def after_step(self) -> None:
        """After the optimiser's step, for what anneals; never called after a skipped step."""


class PairLoss(Loss):
    """A function of pairs: `forward(pairs) -> scalar`.

    normalize: True asks for unit vectors where the score is their inner product; False takes rows of any length.
    sums_pairs: True where it is a sum of functions of one pair's score each, whose slopes have a limit; only numbers of pairs
    may divide it. Such a loss can be boosted, pair by pair.
    Anchors that lack what the loss needs (a positive, a negative) are left out of its mean; a batch without any such
    anchor gives 0 with gradient 0.
    """

    normalize = True
    sums_pairs = False

    def __call__(self, pairs: Pairs | Tensor, labels: Tensor | None = None) -> Tensor:
        """Of pairs, or of embeddings (B, D) and labels (B,) int64: all pairs within them, normalised if the loss asks for it.

        Raises ValueError for pairs of rows of another length than 1 where the loss asks for unit vectors.
        """
        if isinstance(pairs, Tensor) and labels is not None:
            rows = Rows.of(pairs, labels)
            pairs = Pairs.within(rows.normalized() if self.normalize else rows)
        elif isinstance(pairs, Tensor) or labels is not None:
            raise ValueError("expected loss(pairs) or loss(embeddings, labels)")
        elif self.normalize and pairs.euclidean:
            for rows in (pairs.anchors, *pairs.blocks):
                rows.expect_unit()
        if not pairs.positive.numel():  # no anchor, or nothing to compare one with
            return (pairs.score if isinstance(pairs.score, Tensor) else pairs.anchors.embeddings)[:0].sum()
        loss: Tensor = super().__call__(pairs)
        return loss

    def forward(self, pairs: Pairs) -> Tensor:
        raise NotImplementedError

    def usable(self, pairs: Pairs) -> Tensor:
        """(B,) bool: the anchors that have what the loss needs, unless it says otherwise a positive and a negative."""
        return pairs.complete

    @torch.enable_grad()
    def weights(self, pairs: Pairs) -> Tensor:
        """(B, N) dL/dS at the pairs' scores S: how strongly each is pushed apart (above 0) or pulled together (below 0).

        The gradient of the loss is that of sum(weights * S), the weights held constant.
        Source: Wang et al. 2019, Multi-Similarity Loss with General Pair Weighting.
        """
        scores = pairs.similarity().detach().requires_grad_(True)
        (weights,) = torch.autograd.grad(
            self(dataclasses.replace(pairs, score=scores, products=pairs.euclidean)), scores
        )
        return weights


class ClassLoss(Loss):
    """A loss with weights of its own, one or more rows per class: `forward(embeddings (B, D), classes (B,)) -> scalar`.

    Of no embeddings it is 0 with gradient 0.
    """

    def __call__(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        loss: Tensor = super().__call__(embeddings, classes) if len(embeddings) else embeddings.sum()
        return loss

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        raise NotImplementedError

    def logits(self, embeddings: Tensor) -> Tensor | None:
        """(B, C) scores of the classes for embeddings (B, D), without a margin; None where the loss has no such scores."""
        return None


FEATURES = ("before", "after")


@dataclass(frozen=True)
class Term:
    """One entry of a config's LOSSES.

    feature: `before` or `after` the encoder's neck; pair losses may take either, class losses and scoring take after.
    lr_factor, weight_decay: of the loss's own parameters; None leaves the optimiser's own weight decay.
    """

    name: str
    loss: PairLoss | ClassLoss
    weight: float = 1.0
    feature: str = "before"
    lr_factor: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        if self.feature not in FEATURES:
            raise ValueError(f"losses.{self.name}: no FEATURE {self.feature}; there are {', '.join(FEATURES)}")


def __getattr__(name: str) -> Any:
    """`losses.Triplet` and its like: a loss by its class, whichever file it stands in."""
    files = pkgutil.iter_modules(__path__) if name[:1].isupper() else ()
    for file in files:
        found = getattr(importlib.import_module(f"{__name__}.{file.name}"), name, None)
        if isinstance(found, type) and issubclass(found, Loss):
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
