"""Backbones by name: pictures in, a feature map out. Knows how to ask timm for one and how to edit its last stride."""

from __future__ import annotations

import difflib
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from reid.models import weights as weight_files
from reid.models.tiny import Tiny

PROBE = (1, 3, 128, 64)  # total stride 32 leaves a map of 4x2, so that halving is still seen on both sides


def build(name: str, *, weights: str | Path = "none", last_stride: int = 2) -> nn.Module:
    """A network (B, 3, H, W) -> (B, C, h, w), with `num_features` = C.

    Args:    name: `tiny`, or any of timm's convolutional networks under timm's name.
             weights: `none`; `timm` or `timm:<tag>` for timm's hub; else a file, see `reid.models.weights`.
             last_stride: 1 doubles the map's height and width by taking the stride out of the last halving. The
             parameters stay what they are, so pretrained weights fit.
    Raises:  ValueError for an unknown name, for a network that gives no (B, C, h, w) map or whose last halving is not
             done by convolutions, and for weights that do not fit; FileNotFoundError and ConnectionError where the
             weights cannot be had.
    Source:  last_stride: Luo et al. 2019 (bag of tricks), section 3.5.
    """
    if last_stride not in (1, 2):
        raise ValueError(f"last_stride: found {last_stride}, expected 1 or 2")
    _check_name(name)
    if str(weights).partition(":")[0] == "timm":
        backbone = weight_files.from_hub(name, str(weights).partition(":")[2])
    else:
        # Without classes and pooling timm's networks end at their last feature map.
        backbone = Tiny() if name == "tiny" else timm.create_model(name, num_classes=0, global_pool="")
        if str(weights) != "none":
            weight_files.load(backbone, Path(weights), name)
    for module in backbone.modules():
        # Autograd keeps the input of these two, so working in place only makes it copy that first: 9% of a CPU step.
        if isinstance(module, nn.ReLU6 | nn.Hardswish):
            module.inplace = False
    _check_map(backbone, name)
    # timm's own num_features is the width before the head's convolution in some networks (MobileNetV3).
    backbone.num_features = _probe(backbone)[1]  # type: ignore[assignment]
    if last_stride == 1:
        _remove_last_stride(backbone, name)
    return backbone


def _check_name(name: str) -> None:
    names = ["tiny", *timm.list_models()]
    if name in names:
        return
    near = difflib.get_close_matches(name.lower(), names, n=5, cutoff=0.5)
    hint = f"near it: {', '.join(near)}" if near else "timm.list_models() lists them"
    raise ValueError(f"backbone: no {name!r} among tiny and timm's {len(names) - 1:,} networks; {hint}")


def _check_map(backbone: nn.Module, name: str) -> None:
    """Refuses networks that give no feature map: transformers, and heads that go on after the last map."""
    try:
        shape = _probe(backbone)
    except (AssertionError, RuntimeError) as error:  # made for one size of picture
        raise ValueError(
            f"backbone {name}: does not take a 128x64 picture ({error}); use a convolutional one"
        ) from error
    # Channels-last maps have four axes as well, but the last two are not as 2 to 1.
    if len(shape) != 4 or shape[2] != 2 * shape[3]:
        raise ValueError(
            f"backbone {name}: gives {shape} for a 128x64 picture, expected a feature map (1, C, 2w, w); "
            "use a convolutional one"
        )


def _probe(backbone: nn.Module) -> tuple[int, ...]:
    """The shape that comes out for one 128x64 picture; leaves the network as it was."""
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            return tuple(backbone(torch.zeros(PROBE)).shape)
    finally:
        backbone.train(was_training)


def _remove_last_stride(backbone: nn.Module, name: str) -> None:
    """Sets stride 1 in every convolution that makes a map of the final size from a larger one.

    They are found by watching a picture go through, so this holds for every network whose halvings are convolutions:
    in MobileNetV2 one depthwise convolution, in ResNet a 3x3 and the shortcut's 1x1.
    """
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
