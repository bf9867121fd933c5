"""Networks of patches at any size of picture: their grid, their windows, and the embeddings of their places."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import AttentionPool2d, resample_abs_pos_embed
from timm.models import SwinTransformer, SwinTransformerV2
from timm.models.swin_transformer import window_partition
from torch import Tensor, nn

log = logging.getLogger(__name__)

PROJECTION = "patch_embed.proj.weight"


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


def fit_pool(network: Any, size: tuple[int, int]) -> None:
    """As `fit`, of a network whose map goes through attention over its places, such as CLIP's ResNets; timm would resample their
    embeddings in every forward."""
    pool, was_training = network.head, network.training
    with torch.no_grad():
        grid = tuple(network.eval().forward_features(torch.zeros(1, 3, *size)).shape[2:])
    network.train(was_training)
    new = resample_abs_pos_embed(pool.pos_embed[None], grid, list(pool.feat_size))
    pool.pos_embed, pool.feat_size = nn.Parameter(new[0].detach().clone()), grid
    log.info("pictures of %dx%d: attention over %dx%d places", *size, *grid)


def attends(network: nn.Module) -> bool:
    """Whether it is one that `fit_pool` is for."""
    return isinstance(getattr(network, "head", None), AttentionPool2d)


def resampled(network: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """A state whose embeddings of places are of another grid, with those of the network's, and what was done, for the log.

    The grid of the state's is known from their number: a square, else two or three times as high as wide, with one row more where
    patches overlap (TransReID: 21x10 in pictures of 256x128). As many places as the network has are taken as they are.
    Others come back unchanged, and so does every state of another patch or width.
    """
    name, new, prefix = _own_places(network)
    own, theirs = network.state_dict().get(name), state.get(name)
    if own is None or theirs is None or theirs.shape == own.shape or mismatches(network, state):
        return state, ""
    grid = _grid(theirs.shape[-2] - prefix) if theirs.ndim == own.ndim else None
    if grid is None or theirs.shape[-1] != own.shape[-1]:
        return state, ""
    batched = theirs.reshape(1, *theirs.shape[-2:])
    places = resample_abs_pos_embed(batched, new_size=list(new), old_size=list(grid), num_prefix_tokens=prefix)
    said = "; embeddings of places resampled from {}x{} to {}x{}".format(*grid, *new)
    return {**state, name: places.reshape(own.shape)}, said


def _own_places(network: Any) -> tuple[str, tuple[int, int], int]:
    """The name of a network's embeddings of places, their grid, and how many stand for no place; "" where it has none."""
    if attends(network):
        return "head.pos_embed", network.head.feat_size, 1
    if getattr(network, "pos_embed", None) is None or not hasattr(network, "patch_embed"):
        return "", (0, 0), 0
    return "pos_embed", network.patch_embed.grid_size, _prefix(network)


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
    """Rows and columns of so many places, by the forms that `resampled` names, in their order."""
    for ratio, more in ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1)):
        columns = math.isqrt(max(num, 0) // ratio)
        if columns and (ratio * columns + more) * columns == num:
            return ratio * columns + more, columns
    return None
