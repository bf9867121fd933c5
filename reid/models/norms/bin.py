"""BIN: every BatchNorm mixed with an InstanceNorm, by a gate per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.norms import Conversion, _places


class Bin(Conversion):
    """Every BatchNorm becomes gate * BatchNorm + (1 - gate) * InstanceNorm, each with a scale and a shift of its own.

    Gates begin at 1, which is the network as it was; what they learn beyond 0..1 counts as 0 or 1.
    Source:  Choi et al. 2021 (MetaBIN): the layer. There the gates learn in meta steps of their own, and are clipped
             after them, as METHOD metabin does; here any method learns them.
    """

    changes_batch_norm = True

    def convert(self, network: nn.Module) -> list[str]:
        found = _places.batch_norms(network)
        if not found:
            raise ValueError(f"found no BatchNorm; there are {_places.layers(network)}")
        for path, layer in found.items():
            _places.replace(network, path, Gated(layer))
        return list(found)


class Gated(nn.Module):
    """(B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.BN, self.then = _places.plain(layer)
        self.IN = nn.InstanceNorm2d(self.BN.num_features, eps=self.BN.eps, affine=True)
        self.gate = nn.Parameter(torch.ones(self.BN.num_features))

    def forward(self, maps: Tensor) -> Tensor:
        within = self.gate + (self.gate.clamp(0, 1) - self.gate).detach()  # clamp's own gradient is 0 at 1, the start
        gate = within[:, None, None]
        return self.then(gate * self.BN(maps) + (1 - gate) * self.IN(maps))
