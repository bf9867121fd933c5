"""What can be told of picture files without decoding them: what speaks against one, and which hold the same bytes."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reid.data import contents, records
from reid.data.passed_over import HEIC
from reid.data.records import Sample

# A named pipe is opened without waiting for somebody who writes into it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_SMALL, _WINDOW = 8192, 1024  # some cameras and editors append a few bytes after the picture's end


class Look(NamedTuple):
    """fault: why the file is no usable picture; empty if nothing speaks against it. mark: equal for files of equal bytes."""

    fault: str
    mark: tuple[int, int]

    @property
    def number(self) -> int:
        """The mark as one number of 0 to 2^63 - 1, by which a checkpoint knows the pictures of its training set."""
        return (self.mark[0] << 32 | self.mark[1]) & (2**63 - 1)


def look(paths: Iterable[str]) -> dict[str, Look]:
    """A look at both ends of each file, by its path; nothing is decoded.

    Sees a missing file, zero bytes, something that is not a picture, and a JPEG, PNG or BMP that was cut short.
    """
    return dict(contents.threaded(_look, sorted(set(paths))))


def broken(samples: Iterable[Sample]) -> list[str]:
    """Pictures that cannot be used, each as one line `path: reason`."""
    return faults(look(sample.path for sample in samples))


def faults(looks: Mapping[str, Look]) -> list[str]:
    """The same of files that have been looked at."""
    return [f"{path}: {seen.fault}" for path, seen in looks.items() if seen.fault]


def copies(looks: Mapping[str, Look]) -> dict[str, str]:
    """{path: the first path with the same bytes} of all files that share them with another.

    Only files of one size that end alike are read whole, and that once, see `contents`.
    """
    alike: dict[tuple[int, int], list[str]] = defaultdict(list)
    for path, seen in looks.items():
        if not seen.fault:
            alike[seen.mark].append(path)
    same: dict[str, list[str]] = defaultdict(list)
    for path, digest in contents.digests(path for paths in alike.values() if len(paths) > 1 for path in paths).items():
        same[digest].append(path)
    return {path: min(paths) for paths in same.values() if len(paths) > 1 for path in paths}


def _look(path: str) -> Look:
    try:
        if ".zip/" in path:
            whole = records.read(path)
            return _look_at(whole[:_WINDOW], whole[-_WINDOW:], len(whole), path)
        file = os.open(path, _FLAGS)  # calls of the system itself: half the time of a file of Python's
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return Look("not a file but a pipe or a device", (0, 0))
            size = status.st_size
            head = tail = os.read(file, _SMALL)  # of most crops all there is
            if size > _SMALL:
                os.lseek(file, -_WINDOW, os.SEEK_END)
                tail = os.read(file, _WINDOW)
        finally:
            os.close(file)
        return _look_at(head[:_WINDOW], tail[-_WINDOW:], size, path)
    except FileNotFoundError:
        return Look("missing", (0, 0))
    except (OSError, ValueError) as error:
        return Look(f"cannot be read ({error})", (0, 0))


def _look_at(head: bytes, tail: bytes, size: int, path: str) -> Look:
    return Look(_fault_of(head, tail, size, path), (size, zlib.crc32(tail)))


def _fault_of(head: bytes, tail: bytes, size: int, path: str) -> str:
    if size == 0:
        return "zero bytes"
    if head.startswith(b"\xff\xd8\xff"):
        # Inside a JPEG's coded data FF is always followed by 00 or a restart mark, so FF D9 can only be the end.
        whole = b"\xff\xd9" in tail or (size > _WINDOW and _jpeg_ends(records.read(path)))
        return "" if whole else "a JPEG cut short (no end mark)"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "" if b"IEND" in tail or b"IEND\xaeB`\x82" in records.read(path) else "a PNG cut short (no end chunk)"
    if head.startswith(b"BM"):
        return "" if size >= int.from_bytes(head[2:6], "little") else "a BMP cut short"
    if head[4:8] == b"ftyp":
        return "" if head[8:11] == b"avi" else HEIC if head[8:12] in _HEIF else "not a picture but a film"
    if head.startswith((b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  ", b"\xffO\xffQ")):
        return ""
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (head[:1] == b"P" and head[1:2] in b"123456"):
        return ""
    return f"not a picture (starts with {head[:4]!r})"


_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_SEGMENT = re.compile(rb"\xff+([^\xff\0\xd0-\xd8])(..)", re.DOTALL)  # its mark, and its length
_MARK = re.compile(rb"\xff+[^\xff\0\xd0-\xd7]")


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG's own end mark comes, whatever stands behind it; that of a thumbnail in it does not count."""
    place = 2
    while segment := _SEGMENT.match(data, place):
        if segment[1] == b"\xd9":
            return True
        place = segment.end(1) + int.from_bytes(segment[2], "big")
        if segment[1] == b"\xda":  # the coded data of a scan, up to the next mark
            mark = _MARK.search(data, place)
            place = mark.start() if mark else len(data)
    return data[place : place + 2] == b"\xff\xd9"
