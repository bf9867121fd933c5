"""Where in two pictures their score comes from: each place of the last feature map times the score's gradient there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reid.methods import Method


def through_score(method: Method, query: Tensor, gallery: Tensor) -> list[NDArray[np.uint8]] | None:
    """How much each place of B queries and of their B gallery pictures raises the score of the two, one beside the other.

    The score is the one that searches go by, from a query's encoding to a gallery picture's; so the two pictures of one
    pair have maps of their own, and an asymmetric method is shown as it searches.

    Args:
        method: in evaluation mode, its score an inner product. query, gallery: (B, 3, H, W) uint8 on its device.
    Returns:
        (B, h, w) of the queries, and of the gallery pictures: 255 where a picture raises the score most, 0 where it does
        not raise it. None where the encoder's last features have no places in the picture.
    Source: Draelos and Carin 2020 (HiResCAM), with the score of a pair in place of a class's.
    """
    backbone = getattr(method.encoder, "backbone", None)
    if backbone is None:
        return None
    with torch.enable_grad():
        one, rows = _seen(backbone, method.encode_query, query)
        other, columns = _seen(backbone, method.encode_gallery, gallery)
        slopes = torch.autograd.grad((rows * columns).sum(), [one, other])
    prefix = getattr(backbone, "num_prefix_tokens", 0)
    grids = [_grid((at * slope).detach(), prefix, query.shape) for at, slope in zip((one, other), slopes, strict=True)]
    found = [grid for grid in grids if grid is not None]
    return found if len(found) == 2 else None


def _seen(backbone: nn.Module, encode: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """What the backbone gives of the pictures as they are (not of mirror images, which come after), and their rows."""
    given: list[Tensor] = []
    hook = backbone.register_forward_hook(lambda _module, _images, found: given.append(found))
    try:
        # A picture that asks for a gradient brings one to the features even where all weights are held.
        rows = encode((images.float() / 255).requires_grad_())
    finally:
        hook.remove()
    return given[0], rows


def _grid(part: Tensor, num_prefix: int, size: torch.Size) -> NDArray[np.uint8] | None:
    """(B, C, h, w) or (B, T, C) -> (B, h, w)."""
    if part.ndim == 4:
        sums = part.sum(dim=1)
    else:
        patches = part[:, num_prefix:].sum(dim=2)
        height = round((patches.shape[1] * size[-2] / size[-1]) ** 0.5)
        if height == 0 or patches.shape[1] % height:
            return None
        sums = patches.unflatten(1, (height, -1))
    raised = sums.clamp_min(0)
    most = raised.amax(dim=(1, 2), keepdim=True)
    return (255 * raised / most.clamp_min(torch.finfo(most.dtype).tiny)).round().to(torch.uint8).cpu().numpy()
