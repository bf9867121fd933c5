"""Losses: one file each; the config's NAME is the file's name, the constructor's signature its options.

A loss is one of two kinds and knows nothing of memories, samplers or domains. `num_classes` and `dim` in a constructor
are injected, never options.
"""

from torch import Tensor, nn

from reid.pairs import Pairs


class PairLoss(nn.Module):
    """A function of pairs: `forward(pairs) -> scalar`.

    normalize: True asks for unit vectors in `pairs.anchors` and `pairs.refs`, False for raw ones.
    Anchors that lack what the loss needs (a positive, a negative) are left out of its mean; a batch without any such
    anchor gives 0 with gradient 0.
    """

    normalize = True

    def forward(self, pairs: Pairs) -> Tensor:
        raise NotImplementedError


class ClassLoss(nn.Module):
    """A loss with weights of its own, one or more rows a class: `forward(embeddings (B, D), classes (B,)) -> scalar`."""

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        raise NotImplementedError
