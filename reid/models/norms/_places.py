"""Where in a network a conversion goes: its stages and their blocks, its stem, what stands after a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reid.models.norms import BATCH_NORM

Modules = dict[str, nn.Module]
Norms = dict[str, Any]  # BatchNorms by path: of torch, or of timm with dropout and activation inside
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.PReLU, nn.GELU)


def layers(network: nn.Module) -> str:
    """The normalisation layers of a network, for the answer to a conversion that finds none of its own."""
    kinds = [type(m).__name__ for m in network.modules() if _is_norm(m)]
    return ", ".join(f"{number} {kind}" for kind, number in Counter(kinds).most_common()) or "no normalisation layers"


def batch_norms(module: nn.Module, prefix: str = "") -> Norms:
    """Every BatchNorm of maps below a module, by path, in the order of definition."""
    wanted = {name: m for name, m in module.named_modules(prefix=prefix) if isinstance(m, BATCH_NORM)}
    return {name: m for name, m in wanted.items() if not isinstance(m, nn.BatchNorm1d | nn.BatchNorm3d)}


def stages(network: nn.Module) -> Modules:
    """The parts of a network that stand one after the other, by path, without its stem.

    `layer1` to `layer4` of a ResNet, `blocks.0` to `blocks.6` of MobileNetV2: whatever holds a convolution among its
    children; a Sequential of Sequentials is several. Or those that a backbone of ours names itself.
    """
    if names := getattr(network, "stage_names", ()):
        return {name: network.get_submodule(name) for name in names}
    found: Modules = {}
    for name, child in network.named_children():
        inner = _parts(child)
        if name == "stem" or not inner:
            continue
        if isinstance(child, nn.Sequential) and all(isinstance(part, nn.Sequential) for part in inner.values()):
            found |= {f"{name}.{key}": part for key, part in inner.items()}
        else:
            found[name] = child
    return found


def blocks(stage: str, module: nn.Module) -> Modules:
    """What a stage repeats, by path: the parts of a Sequential, unless these are single layers; else the stage itself."""
    inner = _parts(module)
    if isinstance(module, nn.Sequential) and all(any(part.children()) for part in inner.values()):
        return {f"{stage}.{key}": part for key, part in inner.items()}
    return {stage: module}


def named(network: nn.Module, names: Sequence[str], default: Callable[[list[str]], list[str]]) -> Modules:
    """The modules of these paths; without any, the stages that `default` picks of all of theirs.

    Raises ValueError for a path that is not there, with the stages there are.
    """
    known = stages(network)
    wanted = list(names) or default(list(known))
    modules = dict(network.named_modules())
    absent = [name for name in wanted if not name or name not in modules]
    if absent or not wanted:
        lacking = f"no place {', '.join(absent)}" if absent else "too few stages to choose from"
        raise ValueError(
            f"found {lacking} in the backbone; its stages are {', '.join(known) or 'not to be seen'}, and any module of it may "
            "be named"
        )
    return {name: modules[name] for name in wanted}


def stem(network: nn.Module) -> tuple[str, nn.Module]:
    """The first normalisation layer that a picture meets, which must be a BatchNorm."""
    met = [(name, m) for name, m in _order(network) if _is_norm(m)]
    if not met or not isinstance(met[0][1], BATCH_NORM):
        found = f"{met[0][0]}, a {type(met[0][1]).__name__}," if met else "nothing"
        raise ValueError(f"found {found} as the first normalisation layer, expected a BatchNorm")
    return met[0]


def replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def plain(layer: nn.Module) -> tuple[nn.BatchNorm2d, nn.Module]:
    """A BatchNorm with the layer's scale, shift and statistics, and what timm's layers do after it: dropout, activation."""
    old: Any = layer
    norm = nn.BatchNorm2d(old.num_features, old.eps, old.momentum, track_running_stats=old.track_running_stats)
    norm.load_state_dict(
        {**norm.state_dict(), **{key: value for key, value in old.state_dict().items() if "." not in key}}
    )
    return norm, nn.Sequential(*layer.children()) if any(layer.children()) else nn.Identity()


def instance_norm(norm: nn.BatchNorm2d, channels: slice = slice(None)) -> nn.InstanceNorm2d:
    """An InstanceNorm with the scale and shift of (some channels of) a BatchNorm."""
    scale, shift = norm.weight.detach()[channels], norm.bias.detach()[channels]
    made = nn.InstanceNorm2d(len(scale), eps=norm.eps, affine=True)
    made.load_state_dict({"weight": scale.clone(), "bias": shift.clone()})
    return made


def after(module: nn.Module, name: str, extra: nn.Module) -> None:
    """What `module` gives goes through `extra`, its child `name` from now on."""
    if hasattr(module, name):
        raise ValueError(f"found {name} there already, expected it once")
    module.add_module(name, extra)
    if not isinstance(module, nn.Sequential):  # which runs whatever is its last child
        module.register_forward_hook(lambda owner, inputs, output: getattr(owner, name)(output))


def after_sum(network: nn.Module, places: Iterable[str], make: Callable[[int], nn.Module], name: str = "IN") -> None:
    """Puts `make(channels)` behind the sum at the end of each block of these paths: before its last activation, if any."""
    for path, (activation, channels) in _ends(network, list(places)).items():
        owner = network.get_submodule(path)
        if activation is None:
            after(owner, name, make(channels))
        else:  # which keeps what stands before it as a child
            last = network.get_submodule(activation)
            last.add_module(name, make(channels))
            last.register_forward_pre_hook(lambda owner, inputs: (getattr(owner, name)(inputs[0]),))


def channels(network: nn.Module, places: Iterable[str]) -> dict[str, int]:
    """The channels of the map that each of these modules gives. Raises ValueError for one that gives no map."""
    return {path: number for path, (_, number) in _ends(network, list(places)).items()}


def ends_active(network: nn.Module, path: str) -> bool:
    """Whether the block of this path ends with an activation."""
    return _ends(network, [path])[path][0] is not None


def _parts(module: nn.Module) -> Modules:
    """The children that hold convolutions, by name."""
    return {k: part for k, part in module.named_children() if any(isinstance(m, nn.Conv2d) for m in part.modules())}


def _is_norm(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    return "norm" in kind and not any(isinstance(part, nn.Conv2d) for part in module.modules())


def _ends(network: nn.Module, places: list[str]) -> dict[str, tuple[str | None, int]]:
    """By place: the path of the activation whose output is the place's own, if any, and the channels of that output."""
    last: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    paths = {module: path for path, module in network.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, ACTIVATIONS):
            last[paths[module]] = output
        if paths[module] in places:
            given[paths[module]] = output

    _run(network, hook)
    ends: dict[str, tuple[str | None, int]] = {}
    for path in places:
        output = given.get(path)
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(f"{path} gives no map (B, C, h, w), expected a place that does")
        inside = [name for name, value in last.items() if name.startswith(f"{path}.") and value is output]
        ends[path] = (inside[-1] if inside else None, output.shape[1])
    return ends


def _order(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules in the order in which a picture has passed them."""
    paths = {module: path for path, module in network.named_modules()}
    passed: list[tuple[str, nn.Module]] = []
    _run(network, lambda module, inputs, output: passed.append((paths[module], module)))
    return passed


@torch.no_grad()
def _run(network: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> None:
    """One picture, 128x64 where any size will do, through the network, with a hook behind each module; leaves it as it was."""
    training = {module: module.training for module in network.modules()}
    handles = [module.register_forward_hook(hook) for module in network.modules()]
    network.eval()
    try:
        network(torch.zeros(1, 3, *getattr(network, "picture_size", None) or (128, 64)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
