"""Ranges in a row of a study: what a search may set an option to.

`{low: 1e-5, high: 1e-2, log: true}` is a number, `{low: 1, high: 8}` with two whole ends a whole number, `{choices: [...]}` any
of a list; `log` spreads the draws evenly over orders of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from reid import config

WORDS = ("low", "high", "log", "choices")


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both ends included; or one of `choices`, if any, as words of a command line."""

    low: float = 0
    high: float = 0
    log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Any, key: str) -> Any:
        """What a trial of Optuna takes for `key`."""
        if self.choices:
            return trial.suggest_categorical(key, self.choices)
        suggest = trial.suggest_int if self.whole else trial.suggest_float
        return suggest(key, self.low, self.high, log=self.log)

    def probes(self) -> list[Any]:
        """Values that an option must take if it is to take them all: its own range is an interval."""
        if self.choices:
            return list(self.choices)
        # Between the ends a number is hardly ever whole, as some options must be.
        return (
            [self.low, self.high] if self.whole else [self.low, self.high, self.low + 0.381966 * (self.high - self.low)]
        )

    def __str__(self) -> str:
        if self.choices:
            return " | ".join(self.choices)
        return f"{self.low:g}..{self.high:g}{' log' if self.log else ''}"


def is_range(value: Any) -> bool:
    """No block of a config has such keys: theirs are in upper case."""
    return isinstance(value, dict) and any(word in value for word in WORDS)


def read(value: dict[str, Any], where: str) -> Range:
    """The range `value`, as a study's file has it. Raises ValueError, naming `where`, for one that nothing can be drawn from."""
    for word in value:
        if word not in WORDS:
            near = config.nearest(str(word), WORDS)
            raise ValueError(f"{where}: no key {word}{near} in a range; there are {', '.join(WORDS)}")
    if "choices" in value:
        choices = value["choices"]
        if len(value) > 1 or not isinstance(choices, list):
            raise ValueError(f"{where}: found the range {value}; expected {{choices: [...]}} and nothing beside it")
        words = tuple(dict.fromkeys(map(str, choices)))
        if len(words) < 2:
            raise ValueError(
                f"{where}: found the choices {choices}; expected two or more: write one value as it stands"
            )
        return Range(choices=words)
    low, high, log = value.get("low", ""), value.get("high", ""), value.get("log", False)
    if not (_is_number(low) and _is_number(high) and isinstance(log, bool)):
        raise ValueError(f"{where}: found the range {value}; expected numbers low and high, and log true or false")
    if not low < high:
        what = "a constant" if low == high else "low above high"
        raise ValueError(f"{where}: found {what}, {low} and {high}; expected low below high")
    if log and low <= 0:
        raise ValueError(f"{where}: found low {low} with log; expected one above 0, or no log")
    return Range(low, high, log)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
