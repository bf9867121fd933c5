"""Side information: an embedding of each camera of the sources, added to the tokens of a ViT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.models.norms import OfDomains

SCALE = 3.0  # of what is added, TransReID's for people


class Cameras(OfDomains):
    """tokens (B, T, C) -> the same and SCALE times the embedding of each row's camera; while scoring the mean of all embeddings.

    A picture that is scored has the mean whatever set it is of: cameras of a target are none of the sources', and so that a source
    is scored as a target is.
    Args:    num: of cameras, whose indices are 0 to num - 1. dim: C.
    Raises:  ValueError where rows have no cameras while training; IndexError for one that is none of them.
    Source:  He et al. 2021 (TransReID), section 3.2, of cameras alone. There a test picture has the embedding of its own camera,
             which was trained on.
    """

    def __init__(self, num: int, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(num, dim))
        nn.init.trunc_normal_(self.embeddings, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.training:
            return tokens + SCALE * self.embeddings.mean(0)
        if self.cameras is None:
            raise ValueError(
                "SIE: found pictures without cameras, expected a METHOD that tells its encoder of them, or MODEL.BACKBONE.SIE 0"
            )
        return tokens + SCALE * F.embedding(self.cameras, self.embeddings)[:, None]


def add(network: Any, num: int) -> None:
    """Puts them behind the embeddings of places of one of timm's ViTs, in place. Raises ValueError for a network without those."""
    drop = getattr(network, "pos_drop", None)
    if drop is None or not getattr(network, "gives_tokens", False):
        raise ValueError(f"found SIE {num}, expected one of timm's ViTs, whose tokens have places, or 0")
    network.pos_drop = nn.Sequential(drop, Cameras(num, network.num_features))
