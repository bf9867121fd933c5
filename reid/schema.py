"""What a file of ours must hold, said by type hints and checked before anything of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

NAMES: dict[type, str] = {Mapping: "dict"}  # as files have it


def check(value: Any, hint: Any, where: str = "") -> None:
    """Raises ValueError, in one line, where `value` is not what `hint` says.

    hint: a class, Any, `T | None`, list[T], dict[K, V], or a TypedDict, which names every key there may be, `total` or not.
    An int will do for a float, a bool for neither.
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        (own,) = (each for each in inner if each is not NoneType)
        if value is not None:
            check(value, own, where)
    elif is_typeddict(hint):
        _check_keys(value, hint, where)
    elif kind is dict:
        _check_kind(value, Mapping, where)
        for name, each in value.items():
            check(name, inner[0], f"a key of {where or 'it'}")
            check(each, inner[1], _below(where, name))
    elif kind is list:
        _check_kind(value, list, where)
        for number, each in enumerate(value):
            check(each, inner[0], _below(where, number))
    elif hint is not Any:
        _check_kind(value, hint, where)


def _check_keys(value: Any, kind: Any, where: str) -> None:
    _check_kind(value, Mapping, where)
    hints = get_type_hints(kind)
    problems = [f"{_below(where, name)} is missing" for name in kind.__required_keys__ - value.keys()]
    problems += [f"{_below(where, name)} is not known" for name in value.keys() - hints.keys()]
    if problems:
        raise ValueError("; ".join(sorted(problems)[:5]))
    for name, each in value.items():
        check(each, hints[name], _below(where, name))


def _check_kind(value: Any, kind: type, where: str) -> None:
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{where or 'it'} is of type {type(value).__name__}, expected {NAMES.get(kind, kind.__name__)}"
        )


def _below(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)
