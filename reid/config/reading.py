"""Files and words of a config as plain values: YAML with one meaning each, every key once, every file once."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from reid import escape

# The recipes: reid/configs where the package was installed, configs/ beside reid/ in a checkout.
_HERE = Path(__file__).resolve().parents[1]
RECIPES = next(
    (folder for folder in (_HERE / "configs", _HERE.parent / "configs") if folder.is_dir()), _HERE / "configs"
)
DEPTH = 20  # files above each other by _BASE_


class Refused(yaml.MarkedYAMLError):
    """YAML that says one thing to its reader and another to a program."""


class _Loader(yaml.SafeLoader):
    """YAML without surprises. Only true and false are truths, a date is a text, 1e-4 is a number. Refused are a key that
    comes twice, 010 (an 8), 1:30 (a 90) and 1_000, tags, and aliases, of which a short text makes a tree without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            what = "alias (*name)" if isinstance(event, yaml.AliasEvent) else f"tag {event.tag}"
            raise yaml.composer.ComposerError(None, None, f"found the {what}; expected plain values", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        made: dict = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int)):
                raise Refused(None, None, f"found the key {key!r}; expected a word", key_node.start_mark)
            if key in made:
                raise Refused(None, None, f"found the key {key} a second time", key_node.start_mark)
            made[key] = self.construct_object(value_node, deep=deep)
        return made

    def construct_yaml_int(self, node: Any) -> int:
        if not re.fullmatch(r"[-+]?(0|[1-9]\d{0,99}|0[xX][\da-fA-F]{1,80})", node.value):
            said = f"found {node.value}, which YAML reads as another number; write plain digits, or quote a text"
            raise Refused(None, None, said, node.start_mark)
        return int(node.value, 0)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader`, and any other reader of YAML, reads back as it was."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _resolvers() -> None:
    """Which unquoted words are something else than a text."""
    words = {
        "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        "int": (r"[-+]?(0[xob][\da-fA-F_]+|\d[\d_]*(:\d+)*)", list("-+0123456789")),
        "float": (
            r"[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|nan|Inf|NaN|INF|NAN))",
            list("-+.0123456789"),
        ),
    }
    _Loader.yaml_implicit_resolvers = {}
    for kind, (pattern, first) in words.items():
        for one in (_Loader, _Dumper):
            one.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), first)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_resolvers()


def find(path: str | os.PathLike, folder: str | os.PathLike = "") -> Path:
    """The file `path` as seen from `folder`; where there is none, `configs/...` is that recipe of the package.

    Raises FileNotFoundError where neither is there.
    """
    name = Path(path)
    candidates = [Path(folder) / name]
    if name.parts[:1] == ("configs",):
        candidates.append(RECIPES.joinpath(*name.parts[1:]))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    told = " or ".join(escape.line(str(candidate)) for candidate in candidates)
    raise FileNotFoundError(f"config: no file {told}; expected the path of a .yaml file such as those in configs/")


def contents(path: Path) -> list[dict]:
    """What `path` and the files it starts from hold, the most basic first, each file once: where it is first named.

    Raises ValueError or FileNotFoundError in one line.
    """
    return _with_bases(path, (), set())


def _with_bases(path: Path, above: tuple[Path, ...], read: set[Path]) -> list[dict]:
    if path.suffix not in {".yaml", ".yml"}:
        raise ValueError(f"config: {path} is not a .yaml file; nothing else is read, and no config is ever executed")
    place = path.resolve()
    if place in above:
        raise ValueError(f"config: _BASE_ goes in a circle: {' -> '.join(map(str, (*above, place)))}")
    if len(above) == DEPTH:
        raise ValueError(f"config: found more than {DEPTH} files above each other by _BASE_, the first {above[0]}")
    if place in read:
        return []
    read.add(place)
    content = mapping(path, str(path))
    bases = content.pop("_BASE_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"config: _BASE_ of {path} is {bases!r}; expected a path or a list of paths")
    found = []
    for base in bases:
        found += _with_bases(find(base, path.parent), (*above, place), read)
    return [*found, content]


def mapping(source: str | Path, where: str) -> dict:
    """The keys and values of a YAML text, or of the file at a Path. Raises ValueError naming `where`."""
    try:
        content = _read(source.read_text(encoding="utf-8") if isinstance(source, Path) else source)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {where} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"config: {where} holds a {type(content).__name__}; expected keys and values")
    return content


def value(word: str) -> Any:
    """A command line's word as Python (tuples as FastReID writes them) or, failing that, as YAML (lists of blocks), or else
    as the text it is.

    Raises ValueError for what YAML would read as something else.
    """
    try:
        return _literal(word)
    except SyntaxError:
        pass
    try:
        return _read(word)
    except Refused as error:
        raise ValueError(f"config: {' '.join(str(error.problem).split())}") from None
    except yaml.YAMLError:
        return word


def dump(tree: dict) -> str:
    """A tree of plain values as YAML, in ASCII: some characters come back as others where they are written as they are."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=True)


def _read(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def _literal(word: str) -> Any:
    """Raises SyntaxError for what is no Python literal, ValueError for a dict with a key that comes twice."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of words that are nearly Python
            tree = ast.parse(word.strip(), mode="eval")
            found = ast.literal_eval(tree)
    except (ValueError, MemoryError, RecursionError, TypeError) as error:
        raise SyntaxError(str(error)) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = Counter(ast.dump(key) for key in node.keys if key)
            if max(keys.values(), default=0) > 1:
                raise ValueError(f"config: found a key a second time in {word}")
    return found
