"""The config of a run: `load` reads one safely, over the defaults of `keys`.

yacs keeps the tree, freezes it and reads its values. Around it stands what yacs does not do: only `.yaml` is read (yacs
would execute a `.py`), `_BASE_` names the file a config starts from, overrides reach into lists and free blocks, an int
is fine where a float is the default, a list where a tuple was written, and an unknown key is answered with the nearest.
`configs/...` names a recipe of the package where the working folder has no such file.

A block with a NAME (METHOD, SAMPLER, an entry of LOSSES, AUGMENT, SOURCES or TARGETS) is free: its other keys are the options
of the file it names, and `reid.builder` checks them against that file's constructor. An entry is reached by its number, in a
file (`LOSSES: {1: {MARGIN: 0.5}}`) as in an override (`LOSSES.1.MARGIN 0.5`); the number after the last adds one.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import version1
from reid.config import reading
from reid.config.keys import FREE_BLOCKS, KINDS, MOVABLE, NAMED_LISTS, OF_ROWS, STAGE, defaults
from reid.config.kinds import coerce, plain
from reid.config.moved import MOVED, MOVED_OPTIONS
from reid.config.reading import RECIPES, find, mapping

__all__ = [
    "FREE_BLOCKS",
    "MOVED_OPTIONS",
    "OF_ROWS",
    "RECIPES",
    "coerce",
    "default_output_dir",
    "defaults",
    "differences",
    "dump",
    "find",
    "load",
    "mapping",
    "nearest",
    "parse",
    "stages",
    "values",
]

Overrides = Sequence[str] | Mapping[str, Any]  # KEY VALUE KEY VALUE ... as typed, or {KEY: value} as Python has it


def load(
    path: str | os.PathLike | None = None, overrides: Overrides = (), *, between: Mapping[str, Any] | None = None
) -> CfgNode:
    """The frozen config of `path` (None: the defaults) with `overrides` (KEY VALUE KEY VALUE ..., or {KEY: value}) on top.

    between: {KEY: value} over the file and under the overrides.
    Raises ValueError or FileNotFoundError, in one line, for anything that is not a known key with a value of its type.
    """
    cfg = defaults()
    if path is not None:
        for content in reading.contents(find(path)):
            _merge(cfg, content, "")
    _override_all(cfg, between or {})
    _override_all(cfg, overrides)
    if not cfg.OUTPUT_DIR:
        cfg.OUTPUT_DIR = default_output_dir(path)
    if not cfg.DATASETS.ROOT:
        cfg.DATASETS.ROOT = os.environ.get("REID_DATASETS") or os.environ.get("FASTREID_DATASETS") or "datasets"
    cfg.freeze()
    return cfg


def parse(text: str, overrides: Overrides = ()) -> CfgNode:
    """The frozen config of a YAML text, such as the one a checkpoint carries, with `overrides` on top.

    One of before some key MOVED is read as what it says today.
    """
    cfg = defaults()
    _merge(cfg, version1.config(mapping(text, "the checkpoint's config")), "")
    _override_all(cfg, overrides)
    cfg.freeze()
    return cfg


def stages(cfg: CfgNode) -> list[CfgNode]:
    """The config as each stage of SOLVER.STAGES has it, with what the stage says in place of its own; without stages itself.

    Raises ValueError for what a stage cannot say, and values of another type.
    """
    made = []
    for number, stage in enumerate(cfg.SOLVER.STAGES):
        where = f"SOLVER.STAGES.{number}"
        said = {key: value for key, value in stage.items() if key != "LEARNS"}
        if unknown := [key for key in said if key not in STAGE]:
            raise ValueError(
                f"config: no key {where}.{unknown[0]}{nearest(str(unknown[0]), list(STAGE))}; "
                f"a stage takes {', '.join(STAGE)} and LEARNS"
            )
        try:
            made.append(parse(dump(cfg), {"SOLVER.STAGES": [], **{STAGE[key]: value for key, value in said.items()}}))
        except ValueError as error:
            raise ValueError(f"{error}, as {where} says") from None
    return made or [cfg]


def dump(cfg: CfgNode) -> str:
    """The whole config as YAML; `parse` reads it back."""
    return reading.dump(_plain(cfg))


def differences(one: CfgNode, other: CfgNode) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (value in one, value in other)} where they differ in more than what is MOVABLE."""
    a, b = _leaves(_plain(one)), _leaves(_plain(other))
    return {k: (a.get(k), b.get(k)) for k in sorted((a.keys() | b.keys()) - MOVABLE) if a.get(k) != b.get(k)}


def values(cfg: CfgNode, keys: Sequence[str]) -> dict[str, Any]:
    """{dotted key: value} of single keys, and of whole blocks what differs from its default; of a path its last part, which
    is the same on every machine.

    Raises ValueError for an unknown key.
    """
    standard = _leaves(_plain(defaults()))
    found: dict[str, Any] = {}
    for key in keys:
        node: Any = cfg
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                raise _unknown(key)
            node = node[name]
        found |= {k: v for k, v in _leaves({key: _plain(node)}).items() if k == key or (k, v) not in standard.items()}
    return {k: v.rpartition("/")[2] if isinstance(v, str) else v for k, v in found.items()}


def nearest(word: str, words: Sequence[str]) -> str:
    """`; did you mean X?` for the closest of `words`, or nothing."""
    upper = {w.upper(): w for w in words}
    close = difflib.get_close_matches(word.upper(), upper, n=1, cutoff=0.5)
    return f"; did you mean {upper[close[0]]}?" if close else ""


def _merge(node: CfgNode, update: dict, where: str) -> None:
    for name, value in ((str(name), value) for name, value in update.items()):
        key = f"{where}{name}"
        if where == NAMED_LISTS:
            node.setdefault(name, [])
        if name not in node:
            raise _unknown(key)
        if key in FREE_BLOCKS:
            if not isinstance(value, dict):
                raise ValueError(f"config: {key} is {value!r}; expected a block such as {{NAME: {node[name].NAME}}}")
            node[name] = CfgNode(_block(node[name], plain(value, key)))
        elif isinstance(node[name], CfgNode):
            if not isinstance(value, dict):
                keys = ", ".join(node[name]) or "a list under each name"
                raise ValueError(f"config: {key} is {value!r}; expected a block with {keys}")
            _merge(node[name], value, f"{key}.")
        elif isinstance(node[name], list) and isinstance(value, dict):
            entries = list(node[name])
            for number, entry in value.items():
                _set_entry(entries, str(number), entry, f"{key}.{number}")
            node[name] = _coerced(entries, node[name], key)
        else:
            node[name] = _coerced(value, node[name], key)


def _coerced(value: Any, default: Any, key: str) -> Any:
    return coerce(value, KINDS.get(key, type(default)), key, default)


def _block(old: Any, new: Any) -> Any:
    """A free block with `new` on top. Another NAME takes other options: what was said of the old one falls away."""
    both = isinstance(old, dict) and isinstance(new, dict)
    return {**old, **new} if both and new.get("NAME", old.get("NAME")) == old.get("NAME") else new


def _set_entry(entries: list, name: str, value: Any, key: str) -> None:
    """Writes on top of entry `name` of a list, or behind the last."""
    if name == str(len(entries)):
        entries.append(value)
    else:
        index = _index(entries, name, key)
        entries[index] = _block(_named(entries[index]), value)


def _named(entry: Any) -> Any:
    """An entry `NAME` as the block that it stands for."""
    return {"NAME": entry} if isinstance(entry, str) else entry


def _override_all(cfg: CfgNode, overrides: Overrides) -> None:
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            value = os.fspath(value) if isinstance(value, os.PathLike) else copy.deepcopy(value)
            _override(cfg, key, value, lambda value: value)
        return
    if len(overrides) % 2:
        raise ValueError(f"config: overrides come in pairs KEY VALUE; found {len(overrides)} words: {list(overrides)}")
    for key, word in zip(overrides[::2], overrides[1::2], strict=True):
        _override(cfg, key, word, reading.value)


def _override(cfg: CfgNode, key: str, word: Any, read: Callable[[Any], Any]) -> None:
    """Sets `key` to what `read` makes of `word`, or to the word itself where a text is wanted: a folder named 2024."""
    *parents, last = key.split(".")
    where = "".join(f"{part}." for part in parents)
    node: Any = cfg
    for depth, name in enumerate(parents):
        node = _child(node, name, ".".join(parents[: depth + 1]), key)
    free = parents and (parents[0] in FREE_BLOCKS or any(part.isdigit() for part in parents))  # entries of lists too
    if isinstance(node, list):
        _set_entry(node, last, read(word), key)
        whole = ".".join(parents)
        node[:] = coerce(node, KINDS.get(whole, list), whole)
    elif free:
        node[last] = plain(read(word), key)
    else:  # a folder named 2024 stays a name
        _merge(node, {last: word if isinstance(node.get(last), str) else read(word)}, where)


def _child(node: Any, name: str, path: str, key: str) -> Any:
    if isinstance(node, list):
        index = _index(node, name, key)
        child = node[index] = _named(node[index])
    elif isinstance(node, dict) and name in node:
        child = node[name]
    else:
        raise _unknown(key)
    if not isinstance(child, (dict, list)):
        raise ValueError(f"config: {key} reaches into {path}, which is {child!r} and has no parts")
    return child


def _index(items: list, name: str, key: str) -> int:
    if not (name.isascii() and name.isdigit()) or int(name) >= len(items):
        raise ValueError(f"config: {key}: no entry {name}; the list has {len(items)} entries, numbered from 0")
    return int(name)


def _unknown(key: str) -> ValueError:
    if key in MOVED:
        return ValueError(f"config: {key} has moved; write {MOVED[key]}")
    known = [*_leaves(_plain(defaults())), NAMED_LISTS.removesuffix(".")]
    same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = f"; did you mean {same_name[0]}?" if same_name else nearest(key, known)
    return ValueError(f"config: no key {key}{hint or '; reid/config lists them all'}")


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items()}
    return [_plain(v) for v in node] if isinstance(node, (list, tuple)) else node


def _leaves(tree: dict, where: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{where}{name}.") if isinstance(value, dict) else {f"{where}{name}": value}
    return leaves


def default_output_dir(path: str | os.PathLike | None) -> str:
    """runs/ + the path below configs/, without its ending."""
    if path is None:
        return "runs/default"
    stem = Path(path).with_suffix("")
    parts = stem.parts[stem.parts.index("configs") + 1 :] if "configs" in stem.parts else (stem.name,)
    return str(Path("runs", *parts))
