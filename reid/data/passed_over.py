"""What a reader of folders passes over: it has looked there and taken neither the picture nor the folder. It is noted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from reid import escape
from reid.data import records

HEIC = "HEIC is not read: convert it to JPEG, as `heif-convert x.heic x.jpg` does"
NO_PICTURES = frozenset(
    [".csv", ".txt", ".md", ".json", ".xml", ".html", ".pdf", ".mat", ".ini", ".db"]
)  # lie beside them


class PassedOver:
    """What `records.images` and `records.folders` did not take while it was the one of `noticing`."""

    def __init__(self) -> None:
        self.listed: dict[str, set[str]] = {}  # folder: what no listing of it has taken

    def __call__(self, folder: str, names: Iterable[str]) -> None:
        new = {name for name in names if not _hidden(name)}
        self.listed[folder] = self.listed.get(folder, new) & new

    def notes(self, root: Path, pictures: Iterable[str]) -> tuple[str, ...]:
        """For `Dataset.notes`, of a set of these `pictures` below `root`; without the set's name.

        Files directly in `root` that are no pictures are not told of, unless it is among pictures that they lie.
        """
        if not any(self.listed.values()):
            return ()
        read = {*pictures}
        places = {os.path.dirname(path) for path in read}  # noqa: PTH120
        within = {*self.listed, *places}
        within |= {str(above) for place in places | {*self.listed} for above in Path(place).parents}
        unread: list[str] = []
        others: list[str] = []
        seen = {os.path.realpath(folder) for folder in self.listed}
        for folder, names in sorted(self.listed.items()):
            for name in sorted(names):
                path = f"{folder}{os.sep}{name}"
                if path in read or path in within:
                    continue
                if os.path.isdir(path):  # noqa: PTH112
                    _sort(_files(path, seen), unread, others)
                elif records.is_image(name) or folder != str(root) or folder in places:
                    _sort([path], unread, others)
        notes = []
        if unread:
            notes.append(f"{len(unread):,} pictures lie in folders that are not read, {firsts(unread, root)}")
        if others:
            advice = f"; {HEIC}" if any(name.lower().endswith((".heic", ".heif")) for name in others) else ""
            notes.append(f"{len(others):,} files are of kinds that are not read, {firsts(others, root)}{advice}")
        return tuple(notes)


@contextlib.contextmanager
def noticing() -> Iterator[PassedOver]:
    """Of what is listed within; where one lies in another, the inner alone is told."""
    seen = PassedOver()
    token = records.not_taken.set(seen)
    try:
        yield seen
    finally:
        records.not_taken.reset(token)


def firsts(paths: list[str], root: Path) -> str:
    """The first three of some paths, relative to `root`."""
    return f"the first {escape.line(', '.join(os.path.relpath(path, root) for path in paths[:3]))}"


def _sort(paths: Iterable[str], unread: list[str], others: list[str]) -> None:
    for path in paths:
        name = os.path.basename(path)  # noqa: PTH119
        if records.is_image(name):
            unread.append(path)
        elif os.path.splitext(name)[1].lower() not in NO_PICTURES:  # noqa: PTH122
            others.append(path)


def _files(top: str, seen: set[str]) -> Iterator[str]:
    """All below `top`, sorted. Links may lead in a circle, or to a folder that is read."""
    for folder, folders, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders[:], names = [], []
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield from (f"{folder}{os.sep}{name}" for name in sorted(names) if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
