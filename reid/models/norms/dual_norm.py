"""DualNorm: InstanceNorm in the early blocks, and the encoder's neck as the second normalisation."""

from __future__ import annotations

from torch import nn

from reid.models.norms import Conversion, _places
from reid.models.norms.stem import Stem


class DualNorm(Conversion):
    """InstanceNorm with scale and shift behind the sums of early blocks.

    Args:    form: `mobilenet`: in the stem in place of BatchNorm, and behind every block of all stages but the last two.
             `resnet`: in the last block of every stage but the last, before its activation. Empty: `mobilenet` where
             blocks end with their sum, `resnet` where an activation follows.
    Source:  Jia et al. 2019 (DualNorm), MobileNetV2 and ResNet-50. Its BatchNorm before the classifier is MODEL.NECK.
             Deviations: other networks by their stages; the stem's convolution gets no bias, which InstanceNorm would take
             away.
    """

    changes_batch_norm = True

    def __init__(self, form: str = "") -> None:
        if form not in ("", "mobilenet", "resnet"):
            raise ValueError(f"FORM: found {form!r}, expected mobilenet, resnet or nothing")
        self.form = form

    def convert(self, network: nn.Module) -> list[str]:
        stages = _places.named(network, (), lambda known: known[:-1])
        found = [list(_places.blocks(stage, module)) for stage, module in stages.items()]
        if self.form == "mobilenet" or (not self.form and not _places.ends_active(network, found[-1][-1])):
            places = [path for paths in found[:-1] for path in paths]
            converted = Stem().convert(network)
        else:
            places, converted = [paths[-1] for paths in found], []
        _places.after_sum(network, places, lambda channels: nn.InstanceNorm2d(channels, affine=True))
        return converted + places
