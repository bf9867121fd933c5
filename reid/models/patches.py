"""Networks of patches at any size of picture: their grid, their windows, and the embeddings of their places."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models import SwinTransformer, SwinTransformerV2
from timm.models.swin_transformer import window_partition
from torch import Tensor, nn

log = logging.getLogger(__name__)

PLACES, PROJECTION = "pos_embed", "patch_embed.proj.weight"


def fit(network: Any, size: tuple[int, int], stride: int = 0) -> None:
    """Makes one of timm's networks that are made for a size take pictures of `size`, (height, width), in place.

    Embeddings of places are resampled to the new grid of patches, bicubically, as timm does. Windows of a Swin stay as large
    as they are, so that its weights fit; a map that they do not divide is padded. Rows and columns of pixels at the end
    that make no whole patch are not seen, which is logged.

    Args:    stride: pixels from a patch to the next; below the patch's size patches overlap. 0: that size.
    Raises:  ValueError for pictures smaller than a patch, and for a stride where there are no embeddings of places, one for
             each patch, or that is larger than a patch.
    Source:  stride: He et al. 2021 (TransReID), section 3.1.
    """
    embed = network.patch_embed
    patch = tuple(embed.patch_size)
    if min(size[0] - patch[0], size[1] - patch[1]) < 0:
        raise ValueError(f"found pictures of {size[0]}x{size[1]}, expected room for a patch of {patch[0]}x{patch[1]}")
    if getattr(network, "dynamic_img_size", False):  # it would resample in every forward
        network.dynamic_img_size, embed.flatten, embed.strict_img_size = False, True, True
    if isinstance(network, SwinTransformer | SwinTransformerV2):
        _check_stride(stride, None, patch)
        _fit_windows(network, size)
    else:
        before: tuple[int, int] = tuple(embed.grid_size)
        places: Any = getattr(network, "pos_embed", None)
        _check_stride(stride, None if getattr(network, "rope", None) is not None else places, patch)
        network.set_input_size(img_size=size)
        if stride:
            _overlap(network, places, before, stride)
    seen = [(number - 1) * (stride or p) + p for number, p in zip(embed.grid_size, patch, strict=True)]
    rows, columns = (whole - part for whole, part in zip(size, seen, strict=True))
    unseen = f"; the last {rows} rows and {columns} columns of pixels make no whole patch and are not seen"
    log.info(
        "pictures of %dx%d: %dx%d patches of %dx%d%s", *size, *embed.grid_size, *patch, unseen * bool(rows or columns)
    )


def resampled(network: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """A state whose embeddings of places are of another grid, with those of the network's, and what was done, for the log.

    The grid of the state's is a square, or twice as high as wide; as many places as the network has are taken as they are.
    Others come back unchanged, and so does every state of another patch or width.
    """
    own, theirs = getattr(network, PLACES, None), state.get(PLACES)
    if own is None or theirs is None or theirs.ndim != 3 or theirs.shape == own.shape or mismatches(network, state):
        return state, ""
    prefix = _prefix(network)
    grid = _grid(theirs.shape[1] - prefix)
    if grid is None or theirs.shape[2] != own.shape[2]:
        return state, ""
    new: Any = network.patch_embed
    places = resample_abs_pos_embed(theirs, new_size=new.grid_size, old_size=list(grid), num_prefix_tokens=prefix)
    said = "; embeddings of places resampled from {}x{} to {}x{}".format(*grid, *new.grid_size)
    return {**state, PLACES: places}, said


def mismatches(network: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """What makes a state one of another patch size or width, both named; empty where it is neither, or says neither."""
    own, theirs = network.state_dict().get(PROJECTION), state.get(PROJECTION)
    if own is None or theirs is None or own.ndim != 4 or theirs.ndim != 4:
        return []
    found = []
    if own.shape[2:] != theirs.shape[2:]:
        found.append("patches of {}x{}, expected {}x{}".format(*theirs.shape[2:], *own.shape[2:]))
    if len(own) != len(theirs):
        found.append(f"width {len(theirs)}, expected {len(own)}")
    return found


def _check_stride(stride: int, places: Tensor | None, patch: tuple[int, int]) -> None:
    if stride and places is None:
        raise ValueError(
            f"found STRIDE {stride}, expected a network with an embedding of each patch's place, such as a ViT, or 0"
        )
    if stride > min(patch):
        raise ValueError(f"found STRIDE {stride}, expected at most the patch's {min(patch)}: pixels would be left out")


def _overlap(network: Any, places: nn.Parameter, grid: tuple[int, int], stride: int) -> None:
    """Patches every `stride` pixels; `places` are the embeddings as they were, of `grid`."""
    embed = network.patch_embed
    embed.proj.stride = (stride, stride)
    embed.grid_size = tuple((s - p) // stride + 1 for s, p in zip(embed.img_size, embed.patch_size, strict=True))
    embed.num_patches = math.prod(embed.grid_size)
    new = resample_abs_pos_embed(places, embed.grid_size, list(grid), num_prefix_tokens=_prefix(network))
    network.pos_embed = nn.Parameter(new.detach().clone())


def _fit_windows(network: Any, size: tuple[int, int]) -> None:
    network.patch_embed.set_input_size(img_size=size)
    for number, stage in enumerate(network.layers):
        scale = 2 ** max(number - 1, 0)  # of the map that a stage gets: it halves it itself
        feat = tuple(-(-side // scale) for side in network.patch_embed.grid_size)
        stage.set_input_size(feat_size=feat, window_size=stage.blocks[0].window_size, always_partition=True)
        for block in stage.blocks:  # a map no larger than its window is one: nothing is shifted there
            sides = zip(block.shift_size, block.input_resolution, block.window_size, strict=True)
            block.shift_size = tuple(0 if side <= window else shift for shift, side, window in sides)
            block.register_buffer("attn_mask", _mask(block), persistent=False)


def _mask(block: Any) -> Tensor | None:
    """(windows, w, w): -100 between places of which a shift has brought one round from the other end of the map.

    timm shifts a map and then pads it, but masks as if it had padded first: so top and bottom would meet in a window.
    """
    if not any(block.shift_size):
        return None
    (height, width), (rows, columns) = block.input_resolution, block.shift_size
    down, right = (-side % window for side, window in zip((height, width), block.window_size, strict=True))
    brought = torch.zeros(1, height, width, 1)
    brought[:, height - rows :] += 1
    brought[:, :, width - columns :] += 2
    padded = F.pad(brought, (0, 0, 0, right, 0, down))
    windows = window_partition(padded, block.window_size).flatten(1)
    return (windows[:, None] != windows[:, :, None]) * -100.0


def _prefix(network: Any) -> int:
    """How many embeddings of places stand for no patch."""
    return 0 if getattr(network, "no_embed_class", False) else network.num_prefix_tokens


def _grid(num: int) -> tuple[int, int] | None:
    for ratio in (1, 2):
        columns = math.isqrt(num // ratio)
        if columns and ratio * columns**2 == num:
            return ratio * columns, columns
    return None
