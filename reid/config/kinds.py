"""What a value of a config may be: its kind, from a default or a signature, and for a number its range, from one table."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from reid.config import keys

# Every number's interval, open at a parenthesis: of a key by all of its name, of options by the last part of theirs. A list's
# interval is that of each entry. An option that means something else in one file has an entry of its own.
RANGES = {
    **keys.RANGES,
    # of any loss, of the memory, of methods
    "WEIGHT": "[0, 1e6]",
    "LR_FACTOR": "[0, 1e6]",
    "WEIGHT_DECAY": "[0, 10]",
    "MOMENTUM": "[0, 1)",
    # losses
    "ALPHA": "(0, 1000]",
    "BASE": "[-1, 1]",
    "BETA": "(0, 1000]",
    "losses.binomial.BETA": "[-1, 1]",
    "CONFIDENCE_PENALTY": "[0, 1000]",
    "CUTOFF": "(0, 10]",
    "EPSILON": "[0, 2]",
    "GAMMA": "[0.001, 1e4]",
    "losses.a_softmax.GAMMA": "[0, 1e4]",
    "L2": "[0, 1000]",
    "LABEL_SMOOTHING": "[0, 1)",
    "LAMBDA_MIN": "[0, 1e6]",
    "LAMBDA_START": "[0, 1e6]",
    "LEVELS": "[1, 255]",
    "MARGIN": "[0, 100]",
    "losses.alignment.NUM_NEIGHBOURS": "[0, 1e6]",
    "NEGATIVE_COST": "(0, 1e4]",
    "NONZERO_CUTOFF": "(0, 10]",
    "NU": "[0, 100]",
    "NUM_BINS": "[1, 1e4]",
    "NUM_CENTERS": "[1, 1000]",
    "SCALE": "(0, 1e4]",
    "TAU": "[0, 1000]",
    "TEMPERATURE": "[0.0001, 100]",
    # backbones
    "WIDTH": "(0, 10]",
    # methods
    "DIVERSITY_WEIGHT": "[0, 1e6]",
    "EVERY": "[1, 1e6]",
    "FULL_FROM": "[0, 1e6]",
    "HEAD_LR_FACTOR": "[0, 1e6]",
    "HIDDEN": "[1, 1e5]",
    "ITERATIONS": "[1, 1e4]",
    "JOINT_FROM": "[0, 1e6]",
    "MASK_DIVERSITY": "[0, 1e6]",
    "MASK_LR_FACTOR": "[0, 1e6]",
    "NORM_WEIGHT": "[0, 1e9]",
    "NUM_LEARNERS": "[1, 1e4]",
    "REDO": "[1, 1000]",
    "REGRESSOR_LR_FACTOR": "[0, 1e6]",
    "SLICES": "[1, 1e5]",
    "MATCHING": "[0, 1e6]",
    "BANK": "[0, 1e6]",
    "TRIPLET": "[0, 1e6]",
    "FEATURES": "[0, 1e6]",
    "SCORES": "[0, 1e6]",
    "MAPPING_BOUND": "[0, 1000]",
    "MAPPING_LR_FACTOR": "[0, 1e6]",
    "MAPPING_WEIGHT_DECAY": "[0, 10]",
    "methods.dimn.SCALE": "[0, 1e4]",
    "NEIGHBOURS_FROM": "[0, 1e6]",
    "NUM_NEIGHBOURS": "[1, 1e6]",
    "CYCLE_EPOCHS": "[1, 1000]",
    "CYCLE_HIGH": "[0, 1000]",
    "CYCLE_LOW": "[0, 1000]",
    "GATE_LR_FACTOR": "[0, 1e6]",
    "GATE_MOMENTUM": "[0, 1)",
    "ALIGNMENT": "[0, 1e6]",
    "DOMAIN_UNIFORMITY": "[0, 1e6]",
    "INNER_LR": "[0, 1000]",
    "INNER_WEIGHT_DECAY": "[0, 10]",
    "NUM_PROTOTYPES": "[0, 1e6]",
    "UNIFORMITY": "[0, 1e6]",
    "META_WEIGHT": "[0, 1e6]",
    "START_STEP": "[0, 1e9]",
    # samplers
    "LENGTH": "[0, 1e6]",
    "TEST_DOMAINS": "[1, 1000]",
    "TRAIN_DOMAINS": "[0, 1000]",
    "NUM_ANCHORS": "[1, 1e4]",
    "NUM_INSTANCES": "[1, 1e4]",
    # augmentations
    "BRIGHTNESS": "[0, 10]",
    "CELL": "[2, 4096]",
    "CHAINS": "[1, 100]",
    "CONTRAST": "[0, 10]",
    "DEGREES": "[0, 180]",
    "HUE": "[0, 0.5]",
    "MAGNITUDE": "[0, 30]",
    "OPERATIONS": "[0, 100]",
    "PAD": "[0, 1000]",
    "PROB": "[0, 1]",
    "QUALITY": "[1, 100]",
    "SATURATION": "[0, 10]",
    "SEVERITY": "[0.1, 10]",
    "SIGMA": "(0, 100]",
    "THICKNESS": "[1, 1000]",
    "augment.resized_crop.SCALE": "(0, 1]",
    "augment.resolution.SCALE": "(0, 1]",
    # data sets
    "EDITION": "[0, 1e6]",
    "IDS": "[0, 1e6]",
    "PICTURES": "[0, 999999]",
    "TEST_IDS": "[0, 1e6]",
    "datasets.cuhk03.SPLIT": "[0, 20]",
    "datasets.walkers.SIZE": "[8, 4096]",
}
TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a block",
}
WORDS[type(None)] = "null"


class _Misfit(Exception):
    """A value that is not of a kind."""


def coerce(value: Any, kind: Any, key: str, example: Any = None) -> Any:
    """`value` as `kind`, where that loses nothing, and inside the range of `key`; lists for tuples.

    kind: bool, int, float, str, list, dict or None, a list, tuple or Sequence of them such as list[int] or tuple[int, int],
    several by `|`; anything else takes any plain value. example: shown with what was expected.
    Raises ValueError, in one line.
    """
    value = plain(value, key)
    try:
        fitted = _fit(value, kind)
    except _Misfit:
        such = "" if example is None else f", such as {example!r}"
        raise ValueError(
            f"config: {key} is {_short(value)} ({type(value).__name__}); expected {_words(kind)}{such}"
        ) from None
    _check_range(fitted, key)
    return fitted


def plain(value: Any, key: str) -> Any:
    """`value` with lists for tuples, of what YAML can say. Raises ValueError for anything else."""
    if isinstance(value, dict) and all(isinstance(name, (str, int)) for name in value):
        return {name: plain(part, key) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, key) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"config: {key} holds {_short(value)} ({type(value).__name__}); expected numbers, texts, lists and blocks"
    )


def interval(key: str) -> str | None:
    """Where the number of a key, or of an option such as `losses.circle.GAMMA`, must lie; None of a plug-in's option."""
    return RANGES.get(key) or (None if ":" in key else RANGES.get(key.rpartition(".")[2]))


def _check_range(value: Any, key: str) -> None:
    if isinstance(value, list):
        for entry in value:
            _check_range(entry, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        bounds = interval(key)
        if not math.isfinite(value) or (bounds and not _inside(value, bounds)):
            raise ValueError(f"config: {key} is {_short(value)}; expected a number in {bounds or '(-inf, inf)'}")


def _inside(number: float, bounds: str) -> bool:
    low, high = (float(end) for end in bounds[1:-1].split(","))
    above = low < number or (bounds[0] == "[" and low == number)
    return above and (number < high or (bounds[-1] == "]" and number == high))


def _fit(value: Any, kind: Any) -> Any:
    parts, kind = typing.get_args(kind), typing.get_origin(kind) or kind
    if kind in (typing.Union, types.UnionType):
        return _first_fit(value, parts)
    if kind is None or kind is type(None):
        fits = value is None
    elif kind is bool:
        value = TRUTHS.get(value.lower(), value) if isinstance(value, str) else value
        fits = isinstance(value, bool)
    elif kind is float:
        value = _number(value)
        fits = value is not None
    elif kind is int:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
        value = int(value) if fits else value
    elif kind in (list, tuple, Sequence):
        fits = isinstance(value, list)
        if fits and kind is tuple and parts and parts[-1] is not ...:
            fits = len(value) == len(parts)
            value = [_fit(*both) for both in zip(value, parts, strict=True)] if fits else value
        elif fits and parts:
            value = [_fit(part, parts[0]) for part in value]
    else:
        fits = kind not in (str, dict) or isinstance(value, kind)
    if not fits:
        raise _Misfit
    return value


def _first_fit(value: Any, kinds: Sequence[Any]) -> Any:
    for kind in kinds:
        try:
            return _fit(value, kind)
        except _Misfit:
            continue
    raise _Misfit


def _number(value: Any) -> float | None:
    """The number `value` is, or says."""
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def _words(kind: Any) -> str:
    parts, kind = typing.get_args(kind), typing.get_origin(kind) or kind
    if kind in (typing.Union, types.UnionType):
        return " or ".join(map(_words, parts))
    if kind in (list, tuple, Sequence):
        number = f" of {len(parts)}" if kind is tuple and parts and parts[-1] is not ... else ""
        return f"a list{number}{f', each {_words(parts[0])}' if parts else ''}"
    return WORDS.get(kind, "a plain value")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
