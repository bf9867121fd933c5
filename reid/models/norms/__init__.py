"""Normalisation layers of a backbone: what is put in their place (one file per conversion), and what methods do to them.

The config's NAME is the file's name, the constructor's signature its options.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm


class Conversion:
    """An entry of MODEL.NORM.

    changes_batch_norm: it replaces BatchNorms, so that they cannot be frozen at loaded statistics.
    """

    changes_batch_norm = False

    def convert(self, network: nn.Module) -> list[str]:
        """Edits a backbone in place; what its layers have learned goes on into those that replace them. Returns the places.

        Raises ValueError, in one line, where there is nothing to convert or a place is not there.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The NAME it has in a config."""
        kind = type(self)
        return kind.__module__.removeprefix(f"{__name__}.") if kind.__module__.startswith(__name__) else kind.__name__


class OfDomains(nn.Module):
    """A layer that has to know which domain, or camera, each row is of, while it trains."""

    domains: Tensor | None = None  # (B,) int64; given by the encoder for one forward
    cameras: Tensor | None = None  # the same


@contextlib.contextmanager
def of_domains(module: nn.Module, domains: Tensor | None, cameras: Tensor | None = None) -> Iterator[None]:
    """Within, the layers below `module` that want to know are told domain and camera of each row, (B,) int64."""
    layers = [layer for layer in module.modules() if isinstance(layer, OfDomains)]
    for layer in layers:
        layer.domains, layer.cameras = domains, cameras
    try:
        yield
    finally:
        for layer in layers:
            layer.domains = layer.cameras = None


def statistics(module: nn.Module, *, moving: bool = False) -> list[Tensor]:
    """The running means and variances of every BatchNorm below `module`; moving: of those that a forward now changes.

    They come from pictures alone, so that each of several processes gathers others.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, BATCH_NORM) and (layer.training or not moving)]
    values = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
    return [value for value in values if value is not None]


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
