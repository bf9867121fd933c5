"""What methods do to the normalisation layers of a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def statistics(module: nn.Module) -> list[Tensor]:
    """The running statistics of every BatchNorm below `module`: the only state that each of several processes has for itself."""
    return [value for layer in module.modules() if isinstance(layer, BATCH_NORM) for value in layer.buffers()]


@contextlib.contextmanager
def hold_statistics(module: nn.Module) -> Iterator[None]:
    """Within, forwards leave the running statistics of every BatchNorm below `module` as they are.

    What a forward gives does not change: a layer in training mode still normalises by its batch, one in evaluation mode
    by its running statistics. For passes that should not count, such as those of an inner step.
    """
    held = [layer for layer in module.modules() if isinstance(layer, BATCH_NORM) and layer.track_running_stats]
    for layer in held:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in held:
            layer.track_running_stats = True
