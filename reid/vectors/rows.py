"""What is known of a picture besides its vector, and where it is read from: columns of a list, or the picture's path."""

from __future__ import annotations

import csv
import math
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One picture, or one crop of a video.

    path: relative to its input's root. camera, track, person: names, empty where not known. time: seconds (of a video from
    its first frame, of a date since 1970 UTC), NaN where not known. frame: of a video, else -1. box: x, y, w, h in pixels.
    """

    path: str
    camera: str = ""
    time: float = math.nan
    track: str = ""
    person: str = ""
    frame: int = -1
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


LISTED = ("path", "camera", "time", "track", "person")  # what a list may say, and but for the path a pattern
_DTYPES = {"time": np.float64, "frame": np.int64, "box": np.int64}


def columns(rows: list[Row]) -> dict[str, np.ndarray]:
    """The rows as arrays of one entry each by name: (N,), and (N, 4) for the box."""
    by_name = zip(*rows, strict=True) if rows else ([] for _ in Row._fields)
    made = {name: np.array(values, _DTYPES.get(name, str)) for name, values in zip(Row._fields, by_name, strict=True)}
    made["box"] = made["box"].reshape(-1, 4)
    return made


def seconds(text: str) -> float:
    """A number of seconds, or a date such as 2024-05-01T12:00:00 (UTC unless it says otherwise) in seconds since 1970."""
    try:
        value = float(text)
    except ValueError:
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"found the time {text!r}; expected seconds, or a date such as 2024-05-01T12:00:00"
            ) from None
        value = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    if not math.isfinite(value):
        raise ValueError(f"found the time {text!r}; expected a finite number of seconds")
    return value


class Pattern:
    """Reads camera, time, track and person from a picture's path by the named groups of a regular expression."""

    def __init__(self, text: str) -> None:
        try:
            self.regex = re.compile(text)
        except re.error as error:
            raise ValueError(f"--pattern: {text!r} is no regular expression ({error})") from None
        unknown = set(self.regex.groupindex) - set(LISTED[1:])
        if unknown or not self.regex.groupindex:
            raise ValueError(
                f"--pattern: found the groups {', '.join(sorted(unknown)) or 'none'}; expected one or more of "
                + ", ".join(f"(?P<{name}>...)" for name in LISTED[1:])
            )

    def row(self, path: str) -> Row:
        """The row of a picture; what the pattern does not find stays unknown. Raises ValueError for a time that is none."""
        match = self.regex.search(path)
        found = {name: text for name, text in match.groupdict().items() if text is not None} if match else {}
        return _row({"path": path, **found}, path)


def read_list(path: Path) -> list[Row]:
    """The rows of a list: .csv with a line of column names (`path`, and any of camera, time, track, person), or .txt with
    a path a line. Raises ValueError naming the line for what cannot be read."""
    if path.suffix == ".csv":
        return [_row(cells, f"{path}, line {line}") for line, cells in read_csv(path, LISTED, needed=("path",))]
    lines = [line.strip() for line in _text(path).splitlines()]
    return [Row(line) for line in lines if line]


def read_csv(path: Path, known: tuple[str, ...], needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line number, cells by column) of a CSV file with a line of names. Raises ValueError for columns that are not known
    or missing, and for a line of another length."""
    reader = csv.DictReader(_text(path).splitlines())
    names = [name.strip() for name in reader.fieldnames or []]
    unknown = [name for name in names if name not in known]
    missing = [name for name in needed if name not in names]
    if unknown or missing or len(set(names)) != len(names):
        said = f"the unknown column {unknown[0]!r}" if unknown else f"the columns {', '.join(names) or 'none'}"
        raise ValueError(
            f"{path}: found {said}; expected {', '.join(needed)}, and any of {', '.join(known)}, each once"
        )
    reader.fieldnames = names
    rows = []
    for cells in reader:
        if None in cells or None in cells.values():
            raise ValueError(f"{path}, line {reader.line_num}: expected {len(names)} cells, one for each column")
        rows.append((reader.line_num, {name: text.strip() for name, text in cells.items()}))
    return rows


def _row(cells: dict[str, str], where: str) -> Row:
    path, camera, time, track, person = (cells.get(name, "") for name in LISTED)
    if not path:
        raise ValueError(f"{where}: found no path; expected one")
    try:
        return Row(path, camera, seconds(time) if time else math.nan, track, person)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: found bytes that are not UTF-8 ({error}); expected a list as text") from None
