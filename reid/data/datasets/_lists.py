"""Reads sets whose pictures are named by lists: a list's rows, the pictures it names, classes that must be apart."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reid.data import records
from reid.data.records import Sample


def rows(file: Path, form: str, expected: str, *, header: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """What the groups of `form` find in each line of a list, texts or None; blank lines are left out.

    Args:
        form: a pattern of a whole line. expected: the same for people, for the message.
        header: patterns of the first lines, which name no picture; a list without them is of another form.
    Raises FileNotFoundError where the list is missing; ValueError for a line of another form, and for no row at all.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: found no such list; expected lines `{expected}`. It comes with the pictures")
    pattern = re.compile(form)
    found = []
    # A byte that is no UTF-8 is no picture's name: the line is refused like any other of another form.
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if number <= len(header):
            if re.fullmatch(header[number - 1], line.strip()) is None:
                raise ValueError(
                    f"{file}, line {number}: found {line!r}; expected a header: without it the first picture would be lost"
                )
        elif line.strip():
            match = pattern.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"{file}, line {number}: found {line!r}; expected `{expected}`")
            found.append(match.groups())
    if not found:
        raise ValueError(f"{file}: found no picture; expected lines `{expected}`: get the list again")
    return found


def pictures(file: Path, root: Path, names: Sequence[str]) -> list[str]:
    """The pictures that `file` names, relative to `root`, as paths, in their order.

    Raises ValueError for a name that leaves `root`; FileNotFoundError, with their number and the first, for missing ones.
    """
    paths, missing = [], []
    folders: dict[str, tuple[str, set[str]]] = {}
    for name in names:
        above, _, base = name.replace("\\", "/").rpartition("/")
        # Checked and listed once a folder: to look at each of 120,000 files takes longer than everything else here.
        if above not in folders:
            folders[above] = _folder(records.below(root, name).parent)
        prefix, there = folders[above]
        if base not in there:
            missing.append(name)
        paths.append(prefix + base)
    if missing:
        raise FileNotFoundError(
            f"{file}: found {len(missing):,} of its {len(names):,} pictures missing in {root}, the first {missing[0]}; "
            "expected all of them: unpack the data set again, whole"
        )
    return paths


def _folder(folder: Path) -> tuple[str, set[str]]:
    """What the paths of its files begin with, and their names; no names where there is no such folder."""
    return f"{folder}{os.sep}", set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208, names are wanted


def samples(file: Path, root: Path, named: Iterable[tuple[str, int]]) -> list[Sample]:
    """The pictures of (name relative to `root`, class) as samples without cameras, sorted. Raises as `pictures`."""
    named = list(named)
    paths = pictures(file, root, [name for name, _ in named])
    return sorted(Sample(path, number, None) for path, (_, number) in zip(paths, named, strict=True))


def count(train: Sequence[Sample], test: Sequence[Sample]) -> dict[str, int]:
    """What `records.check_counts` compares with the published numbers."""
    return {
        "train classes": len({sample.pid for sample in train}),
        "train images": len(train),
        "test classes": len({sample.pid for sample in test}),
        "test images": len(test),
        "images": len(train) + len(test),
    }


def lonely(dataset: str, test: Iterable[Sample]) -> tuple[str, ...]:
    """For `Dataset.notes`: how many of the classes that are scored have one picture, and so no match to find."""
    sizes = Counter(sample.pid for sample in test)
    alone = sorted(pid for pid, size in sizes.items() if size == 1)
    if not alone:
        return ()
    return (
        f"{dataset}: {len(alone):,} of {len(sizes):,} test classes have one image and no match, the first {alone[0]}",
    )


def apart(dataset: str, train: Iterable[Sample], test: Iterable[Sample]) -> None:
    """Raises ValueError where a class is trained on and scored: the figures would not be those of new classes."""
    shared = sorted({sample.pid for sample in train} & {sample.pid for sample in test})
    if shared:
        raise ValueError(
            f"{dataset}: found {len(shared):,} classes both trained on and scored, the first {shared[0]}; expected none: "
            "these are not the lists that were published"
        )
