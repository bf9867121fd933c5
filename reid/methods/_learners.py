"""What methods of several learners in one embedding share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from reid.models.encoder import Encoder


def after_pooling(encoder: Encoder) -> list[nn.Parameter]:
    """What learns after pooling: the linear map to the embedding and the neck."""
    return [p for p in (*encoder.reduce.parameters(), *encoder.neck.parameters()) if p.requires_grad]


def split_encoder(groups: Sequence[dict[str, Any]], encoder: Encoder, lr_factor: float = 1.0) -> list[dict[str, Any]]:
    """The parameter groups of a baseline with what follows pooling in one of its own, `embedding`."""
    first, *others = groups
    after = after_pooling(encoder)
    known = {id(p) for p in after}
    backbone = {**first, "params": [p for p in first["params"] if id(p) not in known]}
    return [backbone, {"name": "embedding", "params": after, "lr_factor": lr_factor}, *others]
