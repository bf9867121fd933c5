"""InstanceNorm in place of the stem's BatchNorm."""

from __future__ import annotations

from torch import nn

from reid.models.norms import Conversion, _places


class Stem(Conversion):
    """The first BatchNorm that a picture meets becomes an InstanceNorm with its scale and shift.

    Source:  Pan et al. 2018 (IBN-b); arXiv 2003.07618. Ours: a trained BatchNorm's scale and shift are kept.
    """

    changes_batch_norm = True

    def convert(self, network: nn.Module) -> list[str]:
        path, layer = _places.stem(network)
        norm, then = _places.plain(layer)
        _places.replace(network, path, nn.Sequential(_places.instance_norm(norm), then))
        return [path]
