"""Losses: one file each; the config's NAME is the file's name, the constructor's signature its options.

A loss is one of two kinds and knows nothing of memories, samplers or domains. `num_classes` and `dim` in a constructor
are injected, never options.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from reid.pairs import Pairs


class Loss(nn.Module):
    """What both kinds share. State that anneals lives in buffers, so that a resumed run equals an unbroken one.

    wants_distances: True where the loss goes by the distances between classes, which the method then measures.
    """

    wants_distances = False

    def use_distances(self, distances: Tensor) -> None:
        """Before each epoch but the first: (C, C) mean squared distances of unit embeddings, on the CPU; see `reid.methods`."""

    def after_step(self) -> None:
        """After the optimiser's step, for what anneals; never called after a skipped step."""


class PairLoss(Loss):
    """A function of pairs: `forward(pairs) -> scalar`.

    normalize: True asks for unit vectors in `pairs.anchors` and `pairs.refs`, False for raw ones.
    Anchors that lack what the loss needs (a positive, a negative) are left out of its mean; a batch without any such
    anchor gives 0 with gradient 0.
    """

    normalize = True

    def forward(self, pairs: Pairs) -> Tensor:
        raise NotImplementedError

    def usable(self, pairs: Pairs) -> Tensor:
        """(B,) bool: the anchors that have what the loss needs, unless it says otherwise a positive and a negative."""
        return pairs.complete


class ClassLoss(Loss):
    """A loss with weights of its own, one or more rows a class: `forward(embeddings (B, D), classes (B,)) -> scalar`."""

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        raise NotImplementedError


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
