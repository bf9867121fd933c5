"""The folder is the registry: NAME is the name of a file, the signature of what the file makes public its options.

So a new loss, sampler, method or data set is one new file and nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from yacs.config import CfgNode

from reid import config
from reid.data.records import Dataset

# Given by this file to whatever constructor asks for them; never options of a config.
INJECTED = frozenset({"encoder", "losses", "memory", "num_classes", "num_samples", "dim", "class_distances"})
INJECTED |= {"root", "check_counts", "classes", "domains", "camids", "batch_size", "seed"}


def names(folder: str) -> list[str]:
    """The NAMEs a folder of reid/ offers, such as those of `losses`: its files, sorted; helpers start with `_`."""
    package = importlib.import_module(f"reid.{folder.replace('/', '.')}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def find(folder: str, name: str) -> Callable[..., Any]:
    """What `reid/<folder>/<name>.py` offers: its `load`, or its one public class."""
    known = names(folder)
    if name not in known:
        raise ValueError(f"{folder}: no {name}{config.nearest(str(name), known)}; there are {', '.join(known)}")
    module = importlib.import_module(f"reid.{folder.replace('/', '.')}.{name}")
    if hasattr(module, "load"):
        return module.load
    (public,) = (
        member
        for key, member in vars(module).items()
        if inspect.isclass(member) and member.__module__ == module.__name__ and not key.startswith("_")
    )
    return public


def options(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """{OPTION: parameter}: what a config may say to `maker`."""
    parameters = inspect.signature(maker).parameters.values()
    return {p.name.upper(): p for p in parameters if p.name not in INJECTED}


def make(folder: str, block: dict[str, Any], **injected: Any) -> Any:
    """What `block` ({NAME: ..., OPTION: ...}) names in `folder`, made with its options and what it asks for of `injected`.

    Raises ValueError for an unknown NAME or option, or a value the constructor refuses.
    """
    return prepare(folder, block, **injected)()


def dataset(cfg: CfgNode, entry: Any, *, check_counts: bool) -> Callable[[], Dataset]:
    """The reader of one entry of DATASETS.SOURCES or .TARGETS: called, it reads the set from disk.

    Raises ValueError for what is no entry, an unknown NAME or an unknown option; the reader for what is on disk.
    """
    block = {"NAME": entry} if isinstance(entry, str) else entry
    if not isinstance(block, dict) or "NAME" not in block:
        raise ValueError(f"DATASETS: an entry is {entry!r}; expected NAME or {{NAME: ..., OPTION: ...}}")
    root = cfg.DATASETS.WALKERS_ROOT if block["NAME"] == "walkers" else cfg.DATASETS.ROOT
    return prepare("data/datasets", block, root=root, check_counts=check_counts)


def prepare(folder: str, block: dict[str, Any], **injected: Any) -> Callable[[], Any]:
    """`make` in two steps: what is wrong with the block is raised now, what the constructor refuses when it is called."""
    name = block["NAME"]
    maker = find(folder, name)
    where = f"{folder.rpartition('/')[2]}.{name}"
    known = options(maker)
    arguments = {}
    for key, value in block.items():
        if key == "NAME":
            continue
        if key not in known:
            raise ValueError(
                f"{where}: no option {key}{config.nearest(key, list(known))}; it takes {_signature(known)}"
            )
        default = known[key].default
        arguments[known[key].name] = config.coerce(
            value, None if default is inspect.Parameter.empty else default, f"{where}.{key}"
        )
    missing = [key for key, p in known.items() if p.default is inspect.Parameter.empty and p.name not in arguments]
    if missing:
        raise ValueError(f"{where}: option {', '.join(missing)} is needed; it takes {_signature(known)}")
    asked = inspect.signature(maker).parameters
    arguments |= {key: value for key, value in injected.items() if key in asked}

    def call() -> Any:
        try:
            return maker(**arguments)
        except ValueError as error:
            message = str(error)
            raise ValueError(message if message.startswith((name, where)) else f"{where}: {message}") from error

    return call


def _signature(known: dict[str, inspect.Parameter]) -> str:
    shown = [key if p.default is inspect.Parameter.empty else f"{key} ({p.default})" for key, p in known.items()]
    return ", ".join(shown) or "no options"
