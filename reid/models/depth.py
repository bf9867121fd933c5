"""How deep in a network each of its parameters lies, and what follows from it: rates that fall towards the picture."""

from __future__ import annotations

from typing import Any

from timm.models import group_parameters
from torch import nn


def factors(network: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Of each parameter the factor on its rate: 1 in the last layer, `decay` times that of the next one in those before.

    Layers are blocks, as timm counts them for the network: what stands before the first is one more, and the last norm belongs
    to the last.
    Raises:  ValueError for a network of which no blocks are known.
    Source:  Clark et al. 2020 (ELECTRA); Bao et al. 2022 (BEiT). As timm's `param_groups_layer_decay` without a head.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    depths = group_parameters(network, matcher(coarse=False), reverse=True) if matcher else {}
    last = max(depths.values(), default=0)
    if last < 2:
        raise ValueError(
            f"found LAYER_DECAY {decay} and no blocks in the backbone, expected one of timm's networks, such as a ViT, or 1"
        )
    return {parameter: decay ** (last - depths[name]) for name, parameter in network.named_parameters()}
