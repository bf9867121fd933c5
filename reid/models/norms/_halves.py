"""Instance and batch normalisation of one map in one go, where maps lie channel by channel (channels_last).

PyTorch's InstanceNorm copies such a map and gives it back in the other layout, which the layers behind it then copy again: on a
CPU an IBN-a layer takes four times as long as a BatchNorm, this one about as long.
"""

from __future__ import annotations

from collections.abc import Iterator
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


PIECE = 2**18  # numbers: what is computed of so many at a time stays in a core's cache


def _pieces(rows: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """`rows` (B, n, C) and `others` (B, ...), some pictures at a time."""
    some = max(1, PIECE // rows[0].numel())
    return zip(*(each.split(some) for each in (rows, *others)), strict=True)


def _statistics(rows: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """(B, C) mean and variance by which each picture's channels are normalised: its own, or from `half` on the batch's."""
    mean = rows.mean(1)
    var = torch.cat([(piece - middle).square().mean(1) for piece, middle in _pieces(rows, mean[:, None])])
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
        products = torch.cat([(given * piece).sum(1) for given, piece in _pieces(grad, rows)])
        grad_weight = rate * (products - mean * grad_bias)
        of_bias, of_weight = grad_bias.sum(0), grad_weight.sum(0)
        # What goes back is without its mean and without its share along the normalised rows: of a picture, or of the batch.
        places, size = rows.shape[1], (len(rows), -1)
        mean_bias = torch.cat([grad_bias[:, :half], of_bias[half:].expand(size) / len(rows)], 1) / places
        mean_weight = torch.cat([grad_weight[:, :half], of_weight[half:].expand(size) / len(rows)], 1) / places
        factor = weight * rate
        along = -factor * rate * mean_weight
        constant = -factor * mean_bias - along * mean
        return _sum(constant, grad, factor, rows, along), of_weight, of_bias, None, None


def _sum(constant: Tensor, grad: Tensor, factor: Tensor, rows: Tensor, along: Tensor) -> Tensor:
    """(B, n, C): constant + factor * grad + along * rows, where the three factors are (B, C)."""
    parts = [each[:, None] for each in (constant, factor, along)]
    if torch.is_grad_enabled():
        return parts[0] + parts[1] * grad + parts[2] * rows
    total = torch.empty_like(rows)
    for out, given, piece, c, f, a in _pieces(total, grad, rows, *parts):
        torch.addcmul(c, given, f, out=out).addcmul_(piece, a)
    return total
