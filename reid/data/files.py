"""Files that are there whole or not at all, whatever kills the process that writes them; and going on after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from reid.data import looks, records
from reid.data.records import Sample

try:
    import fcntl
except ImportError:  # Windows has none: there, start the first of several runs alone
    fcntl = None  # type: ignore[assignment]


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. What a killed process leaves behind starts with a dot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other run makes this folder. The lock goes when its holder ends, however it ends."""
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def whole_pictures(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, sorted; first, what a killed process was writing and pictures cut short are removed."""
    for path in folder.glob(".*"):
        path.unlink()
    start = len(f"{folder}/")
    for line in looks.broken(Sample(str(path), 1, None) for path in records.images(folder)):
        (folder / line[start:].partition(": ")[0]).unlink()
    return records.images(folder)


def num_cores() -> int:
    """Of those this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
