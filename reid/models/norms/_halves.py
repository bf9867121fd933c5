"""Instance and batch normalisation of one map in one go on a CPU, where maps lie channel by channel (channels_last).

PyTorch's InstanceNorm copies such a map and gives it back in the other layout, which the layers behind it then copy again: an IBN-a
layer takes four times as long as a BatchNorm, this one as long. Sums over places are taken by BatchNorm's own kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fits(maps: Tensor) -> bool:
    """Whether `normalise` takes maps (B, C, h, w): on a CPU, several places, single or double precision, channels last."""
    return (
        maps.device.type == "cpu"
        and maps.dtype in (torch.float32, torch.float64)
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
    floor = torch.cat([weight.new_full((half,), eps), weight.new_full((len(weight) - half,), eps_rest)])
    return _Normalise.apply(maps, weight, bias, floor, half)


def _rows(maps: Tensor) -> Tensor:
    """(B, C, h, w), channels last -> (B, h * w, C), the same memory."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _statistics(rows: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """(B, C) mean and variance by which each picture's channels are normalised: its own, or from `half` on the batch's."""
    if torch.is_grad_enabled():
        mean = rows.mean(1)
        var = (rows - mean[:, None]).square().mean(1)
    else:  # BatchNorm's own kernel, a picture at a time, so that each stays in a core's cache
        found = [torch.batch_norm_update_stats(one, None, None, 0.0) for one in _each(rows)]
        mean, var = (torch.stack(each) for each in zip(*found, strict=True))
    of_batch = mean[:, half:].mean(0)
    # The variance over a batch is the mean of the pictures' own, and the variance of their means.
    spread = var[:, half:].mean(0) + (mean[:, half:] - of_batch).square().mean(0)
    size = (len(rows), -1)
    return torch.cat([mean[:, :half], of_batch.expand(size)], 1), torch.cat([var[:, :half], spread.expand(size)], 1)


def _sums(grad: Tensor, rows: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C) sums over each picture's places: of `grad`, and of `grad` times what `rows` differ from `mean`."""
    if torch.is_grad_enabled():
        return grad.sum(1), ((rows - mean[:, None]) * grad).sum(1)
    backward, ones = torch.ops.aten.native_batch_norm_backward.default, torch.ones_like(mean[0])
    found = [
        backward(given, one, ones, None, None, middle, ones, True, 0.0, [False, True, True])[1:]
        for given, one, middle in zip(_each(grad), _each(rows), mean.unbind(), strict=True)
    ]
    products, total = (torch.stack(each) for each in zip(*found, strict=True))
    return total, products


def _each(rows: Tensor) -> tuple[Tensor, ...]:
    """(B, n, C) -> B maps (1, C, n, 1), channels last, the same memory."""
    return rows.transpose(1, 2).unsqueeze(-1).split(1)


class _Normalise(torch.autograd.Function):
    """out = weight (rows - mean) / sqrt(var + floor) + bias."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, floor: Tensor, half: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(maps)
        mean, var = _statistics(rows, half)
        rate = torch.rsqrt(var + floor)
        ctx.save_for_backward(maps, weight, floor, mean, rate)
        ctx.half = half
        of_batch, spread = mean[0, half:].clone(), var[0, half:].clone()
        ctx.mark_non_differentiable(of_batch, spread)
        factor = rate * weight
        out = torch.empty_like(maps)
        torch.addcmul((bias - mean * factor)[:, None], rows, factor[:, None], out=_rows(out))
        return out, of_batch, spread

    @staticmethod
    def backward(ctx: Any, given: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        maps, weight, floor, mean, rate = ctx.saved_tensors
        rows, grad, half = _rows(maps), _rows(given.contiguous(memory_format=torch.channels_last)), ctx.half
        if torch.is_grad_enabled():  # a second-order gradient goes through the statistics too
            mean, var = _statistics(rows, half)
            rate = torch.rsqrt(var + floor)
        grad_bias, products = _sums(grad, rows, mean)  # of each picture
        grad_weight = rate * products
        of_bias, of_weight = grad_bias.sum(0), grad_weight.sum(0)
        # What goes back is without its mean and without its share along the normalised rows: of a picture, or of the batch.
        places, size = rows.shape[1], (len(rows), -1)
        mean_bias = torch.cat([grad_bias[:, :half], of_bias[half:].expand(size) / len(rows)], 1) / places
        mean_weight = torch.cat([grad_weight[:, :half], of_weight[half:].expand(size) / len(rows)], 1) / places
        factor = weight * rate
        along = -factor * rate * mean_weight
        constant = -factor * mean_bias - along * mean
        out = torch.addcmul(constant[:, None], grad, factor[:, None])
        along = along[:, None]
        # In place, without an intermediate, where nothing asks for the gradient of this gradient.
        out = torch.addcmul(out, rows, along) if torch.is_grad_enabled() else out.addcmul_(rows, along)
        return out.unflatten(1, maps.shape[2:]).permute(0, 3, 1, 2), of_weight, of_bias, None, None
