"""The folder is the registry: NAME is the name of a file, the signature of the one class it makes public its options.

So a new loss, augmentation, sampler, method or data set is one new file and nothing else; or a class of another package,
which a config names as `package.module:Class`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from yacs.config import CfgNode

from reid import config, errors, escape
from reid.builder import plugins
from reid.data import overlap, passed_over
from reid.data.records import Card, Dataset


@dataclass(frozen=True)
class Folder:
    """What the files of one folder of reid/ hold.

    bases: the classes of the folder's own `__init__` that are subclassed there; none: each file has a function `load`.
    injected: what `reid.builder` hands to whatever constructor asks for it; never an option of a config.
    """

    bases: tuple[str, ...]
    injected: frozenset[str]


FOLDERS = {
    "losses": Folder(("PairLoss", "ClassLoss"), frozenset({"num_classes", "dim"})),
    "methods": Folder(
        ("Method",),
        frozenset(
            {"encoder", "losses", "memory", "num_classes", "num_samples", "classes", "domains", "dim", "taught_by"}
        ),
    ),
    "data/samplers": Folder(("Sampler",), frozenset({"classes", "domains", "camids", "batch_size", "seed"})),
    "data/augment": Folder(("Augmentation",), frozenset({"size"})),
    "models/backbones": Folder(("Backbone",), frozenset()),
    "models/norms": Folder(("Conversion",), frozenset({"num_domains"})),
    "data/datasets": Folder((), frozenset({"root", "check_counts"})),
    "loggers": Folder(("Logger",), frozenset({"folder", "config", "step"})),
}
# Where a config has entries of them: one, or a list.
ENTRIES = {
    "METHOD": "methods",
    "SAMPLER": "data/samplers",
    "LOSSES": "losses",
    "INPUT.AUGMENT": "data/augment",
    "MODEL.BACKBONE": "models/backbones",
    "MODEL.NORM": "models/norms",
    "DATASETS.SOURCES": "data/datasets",
    "DATASETS.TARGETS": "data/datasets",
    "LOGGERS": "loggers",
}


def names(folder: str) -> list[str]:
    """The NAMEs a folder of reid/ offers, such as those of `losses`: its files, sorted; helpers start with `_`."""
    return sorted(m.name for m in pkgutil.iter_modules(_package(folder).__path__) if not m.name.startswith("_"))


def find(folder: str, name: str) -> Callable[..., Any]:
    """What `reid/<folder>/<name>.py` offers: its `load`, or its one public subclass of the folder's bases; or the plug-in.

    Raises ValueError for an unknown name, and for a file or a plug-in that is not what the folder holds.
    """
    if plugins.is_one(name):
        return _plugin(folder, name)
    known = names(folder)
    if name not in known:
        shown = str(name)
        raise ValueError(
            f"{folder}: no {escape.line(shown)}{config.nearest(shown, known)}; there are {', '.join(known)}"
        )
    module = importlib.import_module(f"{_package(folder).__name__}.{name}")
    if not FOLDERS[folder].bases:
        return module.load
    bases = _bases(folder)
    found = [
        member
        for key, member in vars(module).items()
        if inspect.isclass(member) and member.__module__ == module.__name__ and issubclass(member, bases)
        if not key.startswith("_")
    ]
    if len(found) != 1:
        raise ValueError(
            f"{folder}: {name}.py makes {', '.join(kind.__name__ for kind in found) or 'nothing'} public; "
            f"expected {_expected(folder)}, and one only; names of helpers start with _"
        )
    return found[0]


def entry(value: Any, where: str) -> dict[str, Any]:
    """`NAME` or `{NAME: ..., OPTION: ...}`, as configs write them, as a dict of the second form; a copy.

    where: the key it stands under, for the ValueError of what is neither.
    """
    block = {"NAME": value} if isinstance(value, str) else value
    if not isinstance(block, dict) or not all(isinstance(word, str) for word in (block.get("NAME"), *block)):
        raise ValueError(f"{where}: found the entry {value!r}; expected NAME or {{NAME: ..., OPTION: ...}}")
    return dict(block)


def options(folder: str, name: str) -> dict[str, inspect.Parameter]:
    """{OPTION: parameter}: what a config may say to `name` of `folder`."""
    return parameters(find(folder, name), without=FOLDERS[folder].injected)


def parameters(maker: Callable[..., Any], *, without: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """{OPTION: parameter} of what `maker` takes, with its annotations as types where they can be read."""
    try:
        found = inspect.signature(maker, eval_str=True)
    except (NameError, AttributeError, SyntaxError, TypeError):  # a plug-in's, for type checkers alone
        found = inspect.signature(maker)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # of a class without a constructor
    named = [p for p in found.parameters.values() if p.kind not in variable]
    return {p.name.upper(): p for p in named if p.name not in without}


def arguments(given: dict[str, Any], known: dict[str, inspect.Parameter], where: str) -> dict[str, Any]:
    """{parameter: value} of the options `given`, each of its kind and inside its range. Raises ValueError."""
    found = {}
    for key, value in given.items():
        if moved := config.MOVED_OPTIONS.get(f"{where}.{key}"):
            raise ValueError(f"{where}: {key} has moved; write {moved}")
        if key not in known:
            raise ValueError(
                f"{where}: no option {escape.line(key)}{config.nearest(key, list(known))}; it takes {_signature(known)}"
            )
        p = known[key]
        default = None if p.default is inspect.Parameter.empty else p.default
        kind: Any = p.annotation
        if isinstance(kind, str) or kind is inspect.Parameter.empty:
            kind = Any if default is None else type(default)
        found[p.name] = config.coerce(value, kind, f"{where}.{key}", default)
    return found


def make(folder: str, block: Any, /, **injected: Any) -> Any:
    """What `block` (see `entry`) names in `folder`, made with its options and what it asks for of `injected`.

    Raises ValueError for an unknown NAME or option, or a value the constructor refuses.
    """
    return prepare(folder, block, **injected)()


def dataset(cfg: CfgNode, value: Any, *, check_counts: bool) -> Callable[[], Dataset]:
    """The reader of one entry of DATASETS.SOURCES or .TARGETS: called, it reads the set from disk.

    AS, an option of any set, is the name it goes by here.
    Raises ValueError for what is no entry, an unknown NAME or an unknown option; the reader for what is on disk.
    """
    block = entry(value, "DATASETS")
    name = config.coerce(block.pop("AS", ""), str, f"DATASETS: AS of {block['NAME']}")
    root = cfg.DATASETS.WALKERS_ROOT if block["NAME"] == "walkers" else cfg.DATASETS.ROOT
    read = prepare("data/datasets", block, root=root, check_counts=check_counts)

    def load() -> Dataset:
        with passed_over.noticing() as seen:
            made = read()
        if not isinstance(made, Dataset):
            raise ValueError(f"{block['NAME']}: gave a {type(made).__name__}; expected a Dataset of reid.data.records")
        notes = seen.notes(made.root, overlap.paths([made]))
        made = dataclasses.replace(made, name=name) if name else made
        return overlap.with_notes(made, notes) if notes else made

    return load


def card(name: str) -> Card:
    """The card of a data set, whose pictures need not be here."""
    return sys.modules[find("data/datasets", name).__module__].CARD


def origins(cfg: CfgNode, *, without: Sequence[str] = ()) -> list[dict[str, str]]:
    """Where each plug-in of a config came from, see `plugins.origin`; those of the keys `without` are not looked for."""
    found: dict[str, dict[str, str]] = {}
    for stage in (cfg, *config.stages(cfg)):
        for key, folder in _entries(cfg).items():
            if key in without:
                continue
            values = functools.reduce(lambda node, part: node[part], key.split("."), stage)
            for value in [values] if isinstance(values, dict) else values:
                name = entry(value, key)["NAME"]
                if plugins.is_one(name):
                    find(folder, name)  # refuses what does not belong there
                    found[name] = plugins.origin(name)
    return list(found.values())


def prepare(folder: str, block: Any, /, **injected: Any) -> Callable[[], Any]:
    """`make` in two steps: what is wrong with the block is raised now, what the constructor refuses when it is called."""
    given = entry(block, folder)
    name = given.pop("NAME")
    maker = find(folder, name)
    where = f"{folder.rpartition('/')[2]}.{name}"
    known = options(folder, name)
    taken = arguments(given, known, where)
    missing = [key for key, p in known.items() if p.default is inspect.Parameter.empty and p.name not in taken]
    if missing:
        raise ValueError(f"{where}: option {', '.join(missing)} is needed; it takes {_signature(known)}")
    asked = inspect.signature(maker).parameters
    taken |= {key: value for key, value in injected.items() if key in asked}

    def call() -> Any:
        try:
            return maker(**taken)
        except ValueError as error:
            message = str(error)
            refused = (
                ValueError if folder == "data/datasets" else errors.OptionsRefused
            )  # of a set it may be what is on disk
            raise refused(message if message.startswith((name, where)) else f"{where}: {message}") from error

    return call


def frozen(cfg: CfgNode) -> dict[str, Any]:
    """What TEST.FROZEN adds to the protocol: its keys, as `frozen`, and what they hold.

    Of a block that is only what differs from its default, options of entries too: a new key changes no fingerprint.
    Raises ValueError for an unknown key.
    """
    keys = sorted(cfg.TEST.FROZEN)
    plain = cfg.clone()
    plain.defrost()
    for key in config.FREE_BLOCKS:
        if key in keys:
            plain[key] = CfgNode(_said(ENTRIES[key], cfg[key]))
    found = config.values(plain, keys)
    for key, folder in _entries(cfg).items():
        if isinstance(found.get(key), list):
            found[key] = [_said(folder, value) for value in found[key]]
    return {"frozen": ", ".join(keys), **found} if keys else {}


def _entries(cfg: CfgNode) -> dict[str, str]:
    """ENTRIES, and the lists that a config names itself."""
    return ENTRIES | {f"INPUT.VIEWS.{name}": "data/augment" for name in cfg.INPUT.VIEWS}


def _said(folder: str, value: Any) -> dict[str, Any]:
    """An entry without the options that stand at their default."""
    block = entry(value, folder)
    known = options(folder, block["NAME"])
    return {key: value for key, value in block.items() if key not in known or value != known[key].default}


def _plugin(folder: str, name: str) -> Callable[..., Any]:
    found, bases = plugins.find(name), _bases(folder)
    if bases:
        fits = inspect.isclass(found) and issubclass(found, bases) and found not in bases
    else:
        fits = callable(found) and isinstance(getattr(inspect.getmodule(found), "CARD", None), Card)
    if not fits:
        what = f"the class {found.__name__}" if inspect.isclass(found) else f"a {type(found).__name__}"
        raise ValueError(f"{folder}: {name} is {what}; expected {_expected(folder)}")
    return found


def _bases(folder: str) -> tuple[type, ...]:
    return tuple(getattr(_package(folder), base) for base in FOLDERS[folder].bases)


def _package(folder: str) -> ModuleType:
    return importlib.import_module(f"reid.{folder.replace('/', '.')}")


def _expected(folder: str) -> str:
    if not FOLDERS[folder].bases:
        return "a function that reads a Dataset, in a module with a CARD (both of reid.data.records)"
    return f"a subclass of {' or '.join(FOLDERS[folder].bases)} ({_package(folder).__name__})"


def _signature(known: dict[str, inspect.Parameter]) -> str:
    shown = [key if p.default is inspect.Parameter.empty else f"{key} ({p.default})" for key, p in known.items()]
    return ", ".join(shown) or "no options"
