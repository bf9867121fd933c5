"""timm's networks: by timm's name, with or without the tag of their weights; the hub's weights on demand."""

from __future__ import annotations

import difflib
import logging
from typing import Any

import timm
from torch import nn

from reid.models.pixels import Pixels

log = logging.getLogger(__name__)
OPEN: dict[str, Any] = {
    "num_classes": 0,
    "global_pool": "",
}  # timm's networks then end at their last feature map, or their last tokens


def create(name: str, own: list[str], tag: str | None = None, drop_path: float = 0.0) -> nn.Module:
    """A network that ends at its last feature map or tokens, with the attribute `pixels`: what its weights want.

    Args:    name: timm's, as `resnet18`, `resnet18.a1_in1k` or `timm:resnet18`. A tag says whose weights are meant.
             own: names besides timm's, for the answer to one that is unknown.
             tag: fetches these weights from timm's hub, "" those of the name's tag or else timm's first choice. None: the
             network starts at random.
             drop_path: timm's `drop_path_rate`.
    Raises:  ValueError for a network, a tag or weights that timm does not have, for a drop_path of a network without blocks; ConnectionError where weights cannot be
             fetched.
    """
    network, _, named = name.removeprefix("timm:").partition(".")
    _check_name(network, own)
    if named:
        _check_tag(network, named, f"backbone {name}")
    if tag and named and tag != named:
        raise ValueError(f"weights timm:{tag}: found another tag in the backbone's name {name}; give one of the two")
    if tag is not None:
        _check_tag(network, tag or named, f"weights timm:{tag}")
    full_name = f"{network}.{tag or named}".rstrip(".")
    made: Any = _make(full_name, fetch=tag is not None, drop_path=drop_path)
    # Of the name's tag, or of timm's first choice where it has none.
    made.pixels = Pixels(tuple(made.pretrained_cfg["mean"]), tuple(made.pretrained_cfg["std"])).check()
    if tag is not None:
        log.info("weights timm: %s; pixels by %s, as timm says of them", full_name, made.pixels)
    return made


def _check_name(network: str, own: list[str]) -> None:
    theirs = timm.list_models()
    if network in theirs:
        return
    near = difflib.get_close_matches(network.lower(), [*own, *theirs], n=5, cutoff=0.5)
    hint = f"near it: {', '.join(near)}" if near else "timm.list_models() lists them"
    raise ValueError(f"backbone: no {network!r} among {', '.join(own)} and timm's {len(theirs):,} networks; {hint}")


def _check_tag(network: str, tag: str, where: str) -> None:
    tags = [known.partition(".")[2] for known in timm.list_pretrained() if known.partition(".")[0] == network]
    if not tags or (tag and tag not in tags):
        raise ValueError(
            f"{where}: found no such weights for {network}; timm has {', '.join(tags) or 'none'} for it. "
            "Use one of these, none, or a file"
        )


def _make(full_name: str, *, fetch: bool, drop_path: float) -> nn.Module:
    asked: dict[str, Any] = {"pretrained": fetch, "drop_path_rate": drop_path}
    more = {key: value for key, value in asked.items() if value}
    try:
        return timm.create_model(full_name, **OPEN, **more)
    except AssertionError as error:
        raise ValueError(
            f"backbone {full_name}: timm does not make it without its head ({error}); use another one"
        ) from error
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise ValueError(
            f"backbone {full_name}: found DROP_PATH {drop_path}, expected a network with blocks to leave out, or 0"
        ) from error
    except Exception as error:  # the hub's clients raise errors of many families; each of them stops the run here
        if not fetch:
            raise
        first_line = (str(error).strip().splitlines() or ["no message"])[0]
        raise ConnectionError(
            f"weights timm: tried to fetch {full_name} from timm's hub and could not "
            f"({type(error).__name__}: {first_line}). Without a network, fetch the file elsewhere and give its "
            "path as the weights, or give none to start from scratch"
        ) from error
