"""IBN-a: half of the channels instance-normalised, in each block of the early stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid.models.norms import Conversion, _halves, _places


class IbnA(Conversion):
    """The first BatchNorm of each block: InstanceNorm on the first half of its channels, BatchNorm on the rest.

    Args:    stages: paths of stages; empty: all but the last.
    Source:  Pan et al. 2018 (IBN-Net), ResNet: `layer1` to `layer3`. Ours: other networks by their stages; a trained
             BatchNorm's scale and shift go on in both halves.
    """

    changes_batch_norm = True

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self.stages = tuple(stages)

    def convert(self, network: nn.Module) -> list[str]:
        found = []
        for stage, module in _places.named(network, self.stages, lambda known: known[:-1]).items():
            for path, block in _places.blocks(stage, module).items():
                found += [(name, m) for name, m in _places.batch_norms(block, path).items() if m.num_features > 1][:1]
        if not found:
            raise ValueError(f"found no BatchNorm in the blocks of its stages; there are {_places.layers(network)}")
        for path, layer in found:
            _places.replace(network, path, HalfAndHalf(layer))
        return [path for path, _ in found]


class HalfAndHalf(nn.Module):
    """(B, C, h, w) -> (B, C, h, w); the halves have the names that IBN-Net's weights give them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        norm, self.then = _places.plain(layer)
        half = norm.num_features // 2
        self.sizes = [half, norm.num_features - half]
        self.IN = _places.instance_norm(norm, slice(half))
        self.BN = nn.BatchNorm2d(norm.num_features - half, norm.eps, norm.momentum)
        state = norm.state_dict()
        self.BN.load_state_dict({key: value[half:] if value.ndim else value for key, value in state.items()})

    def forward(self, maps: Tensor) -> Tensor:
        if self.BN.training and torch.is_grad_enabled() and _halves.fits(maps):
            return self.then(self._in_one_go(maps))
        first, rest = maps.split(self.sizes, dim=1)
        return self.then(torch.cat([self.IN(first), self.BN(rest)], dim=1))

    def _in_one_go(self, maps: Tensor) -> Tensor:
        """The same in training, several times faster on a CPU; `BN` keeps its running statistics."""
        weight, bias = (torch.cat([getattr(self.IN, name), getattr(self.BN, name)]) for name in ("weight", "bias"))
        out, mean, var = _halves.normalise(maps, self.sizes[0], weight, bias, self.IN.eps, self.BN.eps)
        if not self.BN.track_running_stats:  # `hold_statistics`
            return out
        # The running statistics move as PyTorch's do: the variance is that of a sample.
        number, running = maps.numel() // maps.shape[1], dict(self.BN.named_buffers())
        running["num_batches_tracked"] += 1
        momentum = 1 / running["num_batches_tracked"].item() if self.BN.momentum is None else self.BN.momentum
        running["running_mean"].lerp_(mean, momentum)
        running["running_var"].lerp_(var * number / (number - 1), momentum)
        return out
