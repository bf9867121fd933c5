"""Files that are there whole or not at all, whatever ends the process that writes them; and a lock that ends with its holder."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into. Without an error it is then flushed to the disk and takes the place of `path`; else nothing changes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _flush(folder: Path) -> None:
    """A name is on the disk only when its folder is."""
    with contextlib.suppress(OSError):  # some file systems, and Windows, have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clear(folder: Path) -> None:
    """Removes what killed processes were writing there. Only where nobody else writes."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


class Lock:
    """Of one process at a time, by the file `path`. It goes when its holder ends, however that ends, or by `release`.

    Processes forked by the holder, such as those that load pictures, do not hold it. Raises BlockingIOError saying who does, OSError where the
    file system has no locks.
    """

    _held: ClassVar[set[IO[str]]] = set()

    def __init__(self, path: Path):
        self.file = path.open("a+")
        try:
            if fcntl is not None:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.seek(0)
            holder = self.file.read().strip() or "another process"
            self.file.close()
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise BlockingIOError(f"{holder} writes there") from None
            raise
        self._held.add(self.file)
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {platform.node()}")
        self.file.flush()

    def release(self) -> None:
        if fcntl is not None:
            fcntl.flock(self.file, fcntl.LOCK_UN)
        self._held.discard(self.file)
        self.file.close()

    @classmethod
    def _let_go(cls) -> None:
        """In a process that was forked: its copies are closed, so that the holder's end is the lock's end."""
        for file in cls._held:
            file.close()
        cls._held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Lock._let_go)
