"""IBN-b: InstanceNorm after the sum of each block of the early stages, and in the stem."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from reid.models.norms import Conversion, _places
from reid.models.norms.stem import Stem


class IbnB(Conversion):
    """InstanceNorm with scale and shift behind each block's sum, before its activation; the stem's BatchNorm becomes one.

    Args:    stages: paths of stages; empty: the first two.
    Source:  Pan et al. 2018 (IBN-Net), as the authors' code has it: every block of `layer1` and `layer2`.
    """

    changes_batch_norm = True

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self.stages = tuple(stages)

    def convert(self, network: nn.Module) -> list[str]:
        found: list[str] = []
        for stage, module in _places.named(network, self.stages, lambda known: known[:2]).items():
            found += _places.blocks(stage, module)
        _places.after_sum(network, found, lambda channels: nn.InstanceNorm2d(channels, affine=True))
        return [*Stem().convert(network), *found]
