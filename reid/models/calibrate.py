"""BatchNorm's running statistics set to those of a data set, before anything is read off a network that has not trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def calibrating(network: nn.Module) -> Iterator[None]:
    """Inside, every BatchNorm of `network` normalises by its batch, whatever `network.train` or `.eval` says, and notes
    what it sees; at the end its running mean and variance are those of everything that went through.

    Show it pictures in random order: a batch of one identity has statistics of its own. Several processes may each show
    their share; all end with the statistics of the whole. Layers without running statistics, and layers that saw
    nothing, stay as they are. The counts of batches stay too.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    sums = [torch.zeros(3, layer.num_features, dtype=torch.float64) for layer in layers]  # count, sum, sum of squares

    def note(total: Tensor, layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().transpose(0, 1).flatten(1).double()  # (C, values of a channel)
        total += torch.stack(
            [values.new_full((len(values),), values.shape[1]), values.sum(1), values.square().sum(1)]
        ).cpu()
        layer.training = True

    modes = [(layer.training, layer.momentum) for layer in layers]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs, total=total: note(total, layer, inputs))
        for layer, total in zip(layers, sums, strict=True)
    ]
    for layer in layers:
        layer.momentum = 0.0  # its own averaging would weigh the last batches most
    counts = [layer.num_batches_tracked.clone() for layer in layers if layer.num_batches_tracked is not None]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, (training, momentum) in zip(layers, modes, strict=True):
            layer.training, layer.momentum = training, momentum
        tracked = [layer.num_batches_tracked for layer in layers if layer.num_batches_tracked is not None]
        for count, before in zip(tracked, counts, strict=True):
            count.copy_(before)
    if distributed.is_initialized() and layers:
        device = next(network.buffers()).device if distributed.get_backend() == "nccl" else "cpu"
        everything = torch.cat(sums, dim=1).to(device)
        distributed.all_reduce(everything)
        sums = list(everything.cpu().split([layer.num_features for layer in layers], dim=1))
    for layer, (count, total, squares) in zip(layers, sums, strict=True):
        if count[0] > 1 and layer.running_mean is not None and layer.running_var is not None:
            mean = total / count
            variance = (squares - count * mean.square()).clamp_min(0) / (count - 1)
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
