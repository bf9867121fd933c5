"""Reads the rows of a CSV file that lists pictures, in any of the dialects that leave no doubt about what is meant.

The first line names the columns, in any order, by one of SPELLINGS; further columns are passed over. The separator is a
comma, a semicolon or a tab; the text UTF-8, UTF-16 or, where it is neither, Latin-1.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from reid.data import records

COLUMNS = ("path", "pid", "camid", "split")
SPELLINGS = {
    "path": "path file filename file_name filepath file_path image img image_path img_path image_name picture",
    "pid": "pid person person_id personid id identity identity_id label class class_id vehicle_id",
    "camid": "camid cam cam_id camera camera_id cameraid",
    "split": "split subset partition part set",
}
SPLITS = ("train", "query", "gallery", "test")
SEPARATORS = ",;\t"
EXPECTED = f"{','.join(COLUMNS)} with split one of {', '.join(SPLITS)}"
_COLUMN_OF = {word: column for column, words in SPELLINGS.items() for word in words.split()}


class Row(NamedTuple):
    """One picture. number: of its line. pid: any text, `2.0` as `2`. camid: None where its cell is empty."""

    number: int
    path: str
    pid: str
    camid: int | None
    split: str


def is_one(file: Path) -> bool:
    """Whether the first line names the four columns.

    Raises ValueError, showing it, where it names some of them: a file that is nearly a list is never passed over.
    """
    first, named, _ = _header(_text(file))
    if len(named) == len(COLUMNS):
        return True
    cells = [cell.strip("\"' ").lower() for cell in re.split(f"[{SEPARATORS}]", first)]
    if len({*map(_column, cells)} - {None}) > 1 or (len(cells) == len(COLUMNS) and {*cells} & {*SPLITS}):
        raise ValueError(
            f"{file}, line 1: found {first[:200]!r}; expected {','.join(COLUMNS)}: correct it, or set FORM market or classes"
        )
    return False


def rows(file: Path) -> list[Row]:
    """The rows of a list, in their order. Raises ValueError naming file and line for one that says nothing, or two things."""
    text = _text(file)
    first, named, separator = _header(text)
    if len(named) < len(COLUMNS):
        raise ValueError(f"{file}, line 1: found {first[:200]!r}; expected {','.join(COLUMNS)}")
    found: list[Row] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 1
    try:
        width = len(next(reader))
        for cells in reader:
            number += 1
            if reader.line_num > number:
                raise ValueError("found a quote that is not closed on its line")
            if any(cell.strip() for cell in cells):
                if len(cells) != width:
                    raise ValueError(f"found {len(cells)} cells, not {width} as on the first line")
                found.append(_row(number, file, {column: cells[place].strip() for column, place in named.items()}))
    except csv.Error as error:
        raise ValueError(f"{file}, line {number + 1}: found a lost quote ({error}); expected {EXPECTED}") from None
    except ValueError as error:
        raise ValueError(f"{file}, line {number}: {error}; expected {EXPECTED}") from None
    _check_once(file, found)
    return found


def _row(number: int, file: Path, cells: dict[str, str]) -> Row:
    if cells["split"].lower() not in SPLITS:
        raise ValueError(f"found the split {cells['split']!r}")
    return Row(
        number,
        str(records.below(file.parent, cells["path"])),
        _pid(cells["pid"]),
        _camid(cells["camid"]),
        cells["split"].lower(),
    )


def _pid(cell: str) -> str:
    number = re.fullmatch(r"(-?\d+)(?:\.0+)?", cell)
    if cell.lower() in ("", "nan", "none", "null", "<na>") or (number and cell.startswith("-")):
        raise ValueError(f"found the pid {cell!r}, which is no person: leave the row out")
    return number[1] if number else cell


def _camid(cell: str) -> int | None:
    if not cell:
        return None
    number = re.fullmatch(r"(\d{1,18})(?:\.0+)?", cell)
    if not number:
        raise ValueError(f"found the camid {cell!r}, which is neither a whole number from 0 nor empty")
    return int(number[1])


def _check_once(file: Path, found: list[Row]) -> None:
    """Raises ValueError for a picture that has two people, or is twice in one split."""
    seen: dict[str, Row] = {}
    splits: set[tuple[str, str]] = set()
    for row in found:
        first = seen.setdefault(row.path, row)
        if first.pid != row.pid or (row.path, row.split) in splits:
            twice = f"as {first.pid} and as {row.pid}" if first.pid != row.pid else f"a second time for {row.split}"
            raise ValueError(
                f"{file}, line {row.number}: found {Path(row.path).relative_to(file.parent)} {twice}, first on line {first.number}; "
                "expected each picture once: leave one of the rows out"
            )
        splits.add((row.path, row.split))


def _header(text: str) -> tuple[str, dict[str, int], str]:
    """(the first line, {column: its place}, the separator) by the separator that finds most; no column is named twice."""
    first = re.split("[\r\n]", text, maxsplit=1)[0]
    ways = []
    for separator in SEPARATORS:
        cells = next(csv.reader([first], delimiter=separator), [])
        columns = [_column(cell) for cell in cells]
        named = {column: place for place, column in enumerate(columns) if column and columns.count(column) == 1}
        ways.append((first, named, separator))
    return max(ways, key=lambda way: len(way[1]))


def _column(cell: str) -> str | None:
    """Which column a cell of the first line names."""
    return _COLUMN_OF.get(re.sub(r"[\s-]+", "_", cell.strip().lower()))


def _text(file: Path) -> str:
    data = file.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "latin-1"] if 0 not in data[:2] else ["utf-16-be" if data[0] == 0 else "utf-16-le"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ValueError(f"{file}: found bytes that are no text; expected a CSV file in UTF-8, UTF-16 or Latin-1")
