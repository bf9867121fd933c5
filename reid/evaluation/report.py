"""Rows of `results.jsonl`, and the tables people read. A table never mixes two protocols."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from reid import escape, schema

Row = dict[str, Any]

FIGURE = re.compile(r"R\d+|mAP|mINP|R@\d+|MAP@R|RP|MRR|MAP@5|NMI|AMI|DIR@[\d.e-]+|changed")
REID = (("Rank-1", "R1"), ("Rank-5", "R5"), ("Rank-10", "R10"), ("mAP", "mAP"), ("mINP", "mINP"))
HEAD = ("Dataset", "Role")


class Needed(TypedDict):
    """What every row of `results.jsonl` says."""

    kind: str
    dataset: str
    role: str
    metric: str
    step: int
    seed: int
    fingerprint: str
    selection: str


class Known(Needed, total=False):
    """And what some say besides their figures."""

    trial: int
    num_trials: int
    num_datasets: int
    rescoring: str
    notes: list[str]
    protocol: list[str]


NUMBERED = {"trial": "trial", "dataset": "num_trials", "mean": "num_datasets"}  # what a row of each kind says as well


def append(path: str | Path, rows: Iterable[Row]) -> None:
    """Adds rows to a file of JSON lines; each line is written in one call, so a crash never leaves half of one behind
    another and several processes never mix theirs.
    """
    # O_APPEND puts each write at the end of the file as it then is.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for row in rows:
            line = (json.dumps(row, sort_keys=True, allow_nan=False) + "\n").encode()
            written = os.write(file, line)
            if written != len(line):
                raise OSError(f"{path}: {written} of {len(line)} bytes written; is the disk full?")
    finally:
        os.close(file)


def read(path: str | Path) -> list[Row]:
    """The rows of a run's `results.jsonl`. Raises ValueError naming the line that is none."""
    rows = lines(path)
    for number, row in enumerate(rows, start=1):
        known = {name: value for name, value in row.items() if name in get_type_hints(Known)}
        try:
            schema.check(known, Known)
            if NUMBERED.get(row["kind"]) not in row:
                raise ValueError(
                    f"it is a row of the kind {row['kind']} without {NUMBERED.get(row['kind'], 'a meaning')}"
                )
            for name in filter(FIGURE.fullmatch, row):
                schema.check(row[name], float, name)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not a row of results ({error}); remove the line") from None
    return rows


def lines(path: str | Path) -> list[Row]:
    """The rows of a file of JSON lines. Raises ValueError naming the line that is none."""
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
            schema.check(rows[-1], dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not a row of results ({error}); remove the line") from error
    return rows


def table(rows: Sequence[Row]) -> str:
    """Pipe tables of the `dataset` and `mean` rows, one for people and one for retrieval sets, in percent.

    A spread over trials follows as `±`, a 95% interval in brackets. The last line names the protocol and how the weights
    were selected. Where the targets' own scores chose them, every line says oracle.

    Raises:
        ValueError: no rows, or rows of two protocols or selections.
    """
    parts = [_pipes(*grid) for grid in grids(rows)]
    return "\n\n".join(parts) + f"\n\nprotocol {_the_one('fingerprint', rows)}{selected(rows)}"


def grids(rows: Sequence[Row]) -> list[tuple[list[str], list[list[str]]]]:
    """The cells of `table`: of each metric the head and the lines. Raises ValueError as `table` does."""
    shown = [row for row in rows if row["kind"] in ("dataset", "mean")]
    if not shown:
        raise ValueError("report: found no row of a data set; expected one or more")
    for name in ("fingerprint", "selection"):
        _the_one(name, shown)
    found = []
    for metric in sorted({row["metric"] for row in shown}):
        these = [row for row in shown if row["metric"] == metric]
        means = [row for row in these if row["kind"] == "mean" and row["num_datasets"] > 1]
        columns = _columns(metric, these)
        listed = [row for row in these if row["kind"] == "dataset"] + means
        lines = [[_dataset(row), _role(row), *(_cell(row, key) for _, key in columns)] for row in listed]
        found.append(([*HEAD, *(heading for heading, _ in columns)], lines))
    return found


def selected(rows: Sequence[Row]) -> str:
    """What a reader must know of how the weights were chosen; empty where it is the last epoch."""
    return {
        "oracle": "; oracle: the weights were chosen by the targets' own scores, which no unseen domain allows",
        "source_val": "; weights chosen on held-out identities of the sources",
    }.get(_the_one("selection", rows), "")


def _the_one(name: str, rows: Sequence[Row]) -> str:
    found = sorted({str(row[name]) for row in rows})
    if len(found) > 1:
        raise ValueError(
            f"report: found rows of {len(found)} {name}s, {' and '.join(found)}; "
            "expected one, since their figures cannot be compared. Make a table of each"
        )
    return found[0]


def _columns(metric: str, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(heading, key) of every figure that some row has."""
    names = {name for row in rows for name in row}
    unknown = sorted(name for name in names if name.startswith("DIR@") and "_" not in name)
    changed = [(name, name) for name in (*unknown, "changed") if name in names]
    if metric == "reid":
        return [*REID, *changed]
    recalls = sorted(int(name[2:]) for name in names if name.startswith("R@") and name[2:].isdigit())
    others = [name for name in ("MAP@R", "RP", "MRR", "MAP@5", "NMI", "AMI") if name in names]
    return [(name, name) for name in (*(f"R@{k}" for k in recalls), *others)] + changed


def _pipes(head: list[str], cells: list[list[str]]) -> str:
    lines = [head, *([escape.markdown(line[0]), *line[1:]] for line in cells)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = [":" + "-" * (width - 1) if i < len(HEAD) else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines.insert(1, rule)
    texts = [
        [
            cell.ljust(width) if i < len(HEAD) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(text)} |" for text in texts)


def _dataset(row: Row) -> str:
    return f"{row['dataset']}, {row['rescoring']}" if "rescoring" in row else row["dataset"]


def _role(row: Row) -> str:
    return f"{row['role']} (oracle)" if row["selection"] == "oracle" else row["role"]


def _cell(row: Row, key: str) -> str:
    """`26.5`, `26.5 ± 1.2`, `26.5 (24.0-29.1)`; `-` where a set does not have the figure."""
    if key not in row:
        return "-"
    text = f"{100 * row[key]:.1f}"
    if f"{key}_std" in row:
        text += f" ± {100 * row[f'{key}_std']:.1f}"
    if f"{key}_low" in row:
        text += f" ({100 * row[f'{key}_low']:.1f}-{100 * row[f'{key}_high']:.1f})"
    return text
