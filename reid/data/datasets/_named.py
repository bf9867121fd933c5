"""Reads folders of pictures whose names say who is seen: what the smaller sets share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reid.data import records
from reid.data.records import Sample


def parse(folder: str | Path, pattern: re.Pattern[str], form: str) -> list[tuple[str, tuple[int, ...]]]:
    """(path, the numbers that `pattern` finds at the start of its name) of every picture directly in `folder`, sorted.

    Raises ValueError for a name of another form, FileNotFoundError where the folder is missing.
    """
    found = []
    for path in records.images(folder):
        match = pattern.match(path.name)
        if match is None:
            raise ValueError(f"{path}: found this name; expected {form}")
        found.append((str(path), tuple(map(int, match.groups()))))
    return found


def number(folder: Path) -> int:
    """Of a person's or a camera's folder: 7 of `7`, `007`, `cam7`, `view7`. Raises ValueError for any other name."""
    match = re.fullmatch(r"(?:cam|view)?(\d+)", folder.name)
    if match is None:
        raise ValueError(f"{folder}: found this folder; expected its name to be a number")
    return int(match[1])


def require(dataset: str, samples: Sequence[Sample], folder: Path, tree: str) -> None:
    """Raises FileNotFoundError where a set whose size is not known has no picture at all."""
    if not samples:
        raise FileNotFoundError(f"{dataset}: found no pictures in {folder}; expected {tree}")


def ids(samples: Sequence[Sample]) -> int:
    """How many people are seen."""
    return len({sample.pid for sample in samples})
