"""InstanceNorm after whole stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from reid.models.norms import Conversion, _places


class Stages(Conversion):
    """What a stage gives is instance-normalised before the next one sees it.

    Args:    after: paths in the backbone; empty: all stages but the last.
             affine: with a scale and a shift that learn.
    Source:  Cho et al. 2024 (BAU), as the authors' code has it: after `layer1` to `layer3`, without scale and shift.
    """

    def __init__(self, after: Sequence[str] = (), affine: bool = False) -> None:
        self.places, self.affine = tuple(after), affine

    def convert(self, network: nn.Module) -> list[str]:
        modules = _places.named(network, self.places, lambda known: known[:-1])
        for path, channels in _places.channels(network, modules).items():
            _places.after(modules[path], "IN", nn.InstanceNorm2d(channels, affine=self.affine))
        return list(modules)
