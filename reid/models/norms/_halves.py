"""Instance and batch normalisation of one map in one go, where maps lie channel by channel (channels_last).

PyTorch's InstanceNorm copies such a map and gives it back in the other layout, which the layers behind it then copy again: on a
CPU an IBN-a layer takes four times as long as a BatchNorm, this one about as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fits(maps: Tensor) -> bool:
    """Whether `normalise` takes maps (B, C, h, w): several places, single or double precision, channels last."""
    return (
        maps.dtype in (torch.float32, torch.float64)
        and maps[0, 0].numel() > 1
        and maps.is_contiguous(memory_format=torch.channels_last)
        and not maps.is_contiguous()
    )


def normalise(
    maps: Tensor, half: int, weight: Tensor, bias: Tensor, eps: float, eps_rest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The first `half` channels by each picture's statistics, the rest by the batch's; what `fits` only.

    maps: (B, C, h, w); weight, bias: (C,). eps, eps_rest: what stands beside the variance of either part.
    Returns the maps (B, C, h, w), and mean and variance (C - half,) of the rest over the batch, which have no gradient.
    """
    rows = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h * w, C), the same memory
    floor = torch.cat([weight.new_full((half,), eps), weight.new_full((len(weight) - half,), eps_rest)])
    out, mean, var = _Normalise.apply(rows, weight, bias, floor, half)
    return out.unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2), mean, var


def _statistics(rows: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """(B, C) mean and variance by which each picture's channels are normalised: its own, or from `half` on the batch's."""
    mean = rows.mean(1)
    apart = rows - mean[:, None]
    var = (apart.square() if apart.requires_grad else apart.square_()).mean(
        1
    )  # in place: no memory that is new each step
    of_batch = mean[:, half:].mean(0)
    # The variance over a batch is the mean of the pictures' own, and the variance of their means.
    spread = var[:, half:].mean(0) + (mean[:, half:] - of_batch).square().mean(0)
    size = (len(rows), -1)
    return torch.cat([mean[:, :half], of_batch.expand(size)], 1), torch.cat([var[:, :half], spread.expand(size)], 1)


class _Normalise(torch.autograd.Function):
    """out = weight (rows - mean) / sqrt(var + floor) + bias, with one pass over `rows` for each sum."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, floor: Tensor, half: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = _statistics(rows, half)
        rate = torch.rsqrt(var + floor)
        ctx.save_for_backward(rows, weight, floor, mean, rate)
        ctx.half = half
        of_batch, spread = mean[0, half:].clone(), var[0, half:].clone()
        ctx.mark_non_differentiable(of_batch, spread)
        factor = rate * weight
        return torch.addcmul((bias - mean * factor)[:, None], rows, factor[:, None]), of_batch, spread

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        rows, weight, floor, mean, rate = ctx.saved_tensors
        half = ctx.half
        if torch.is_grad_enabled():  # a second-order gradient goes through the statistics too
            mean, var = _statistics(rows, half)
            rate = torch.rsqrt(var + floor)
        grad_bias = grad.sum(1)  # (B, C), of each picture
        grad_weight = rate * ((grad * rows).sum(1) - mean * grad_bias)
        of_bias, of_weight = grad_bias.sum(0), grad_weight.sum(0)
        # What goes back is without its mean and without its share along the normalised rows: of a picture, or of the batch.
        places, size = rows.shape[1], (len(rows), -1)
        mean_bias = torch.cat([grad_bias[:, :half], of_bias[half:].expand(size) / len(rows)], 1) / places
        mean_weight = torch.cat([grad_weight[:, :half], of_weight[half:].expand(size) / len(rows)], 1) / places
        factor = weight * rate
        along = -factor * rate * mean_weight
        constant = -factor * mean_bias - along * mean
        grad_rows = torch.addcmul(constant[:, None], grad, factor[:, None])
        return grad_rows.addcmul_(rows, along[:, None]), of_weight, of_bias, None, None
