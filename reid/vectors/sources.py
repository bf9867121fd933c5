"""Where pictures come from: a folder of any depth, a list, a zip or tar archive. (A video: `reid.vectors.video`.)

Everything that can be wrong with the input as a whole is said before anything is embedded; a picture that cannot be read
raises when it is asked for, so that one bad file costs no other.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid.data import records
from reid.data.pictures import decode
from reid.vectors.rows import Pattern, Row, read_list

Load = Callable[[], np.ndarray]  # -> (H, W, 3) uint8 RGB; raises ValueError or OSError saying why there is none
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Source:
    """Pictures in a fixed order.

    root: what the rows' paths are relative to: a folder or an archive; of a video the folder it lies in.
    rows: one for each picture. load: from ascending positions to a function for each that reads that picture.
    first_frame: of a video, the number that its rows give its first frame.
    """

    root: Path
    rows: list[Row]
    load: Callable[[Iterable[int]], Iterator[Load]]
    first_frame: int = 1

    def listing(self) -> str:
        """sha256 of the rows, by which an input is known again."""
        sha = hashlib.sha256()
        for row in self.rows:
            sha.update(f"{row}\n".encode(errors="backslashreplace"))
        return sha.hexdigest()


def find(path: str | Path, *, pattern: str | None = None, root: str | Path | None = None) -> Source:
    """The pictures of the folder, list (.txt, .csv) or archive (.zip, .tar, .tar.gz and so on) `path`.

    pattern: a regular expression with groups named camera, time, track or person, looked for in each path.
    root: what the paths of a list are relative to; left out: the list's folder.
    Raises FileNotFoundError, or ValueError for what is none of these, holds no picture or cannot be read.
    """
    path = Path(path)
    row = Pattern(pattern).row if pattern else Row
    is_list = path.suffix in (".txt", ".csv")
    if root is not None and not is_list:
        raise ValueError(f"--root: is for lists; found the input {path}")
    if pattern and path.suffix == ".csv":
        raise ValueError(f"--pattern: is not for {path}, whose columns say what a pattern would")
    if path.is_dir():
        source = _files(path, [row(name) for name in _walk(path)])
    elif not path.exists():
        raise FileNotFoundError(f"embed: found no {path}; expected a folder, a list, an archive or a video")
    elif is_list:
        source = _listed(path, Path(root) if root is not None else path.parent, row if pattern else None)
    elif path.suffix == ".zip":
        source = _files(path, [row(name) for name in _zip_names(path)])
    elif path.name.endswith(TARS):
        source = _tar(path, row)
    else:
        raise ValueError(
            f"embed: found the file {path}; expected a folder, a list (.txt, .csv), an archive (.zip, {', '.join(TARS)}) "
            "or a video with --boxes"
        )
    if not source.rows:
        raise ValueError(f"embed: found no picture in {path}; expected files that end in .jpg, .png and so on")
    if pattern and all(each == Row(each.path) for each in source.rows):
        raise ValueError(f"--pattern: {pattern!r} is found in no path, such as {source.rows[0].path}")
    return source


def picture(path: str | Path) -> Source:
    """One picture by itself. Raises FileNotFoundError where it is missing."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: found no such file, expected a picture")
    return _files(path.parent, [Row(path.name)])


def read_again(root: Path, name: str) -> np.ndarray:
    """A picture of a folder or an archive by its path in it. Raises ValueError or OSError where it is not there."""
    if not root.name.endswith(TARS):
        return _read(root, name)
    try:
        with tarfile.open(root) as archive:
            file = archive.extractfile(name)
            return decoded(file.read() if file else b"")
    except (KeyError, tarfile.TarError) as error:
        raise ValueError(f"{root}: found no {name} that can be read ({error})") from None


def _files(root: Path, rows: list[Row]) -> Source:
    return Source(root, rows, lambda positions: (functools.partial(_read, root, rows[i].path) for i in positions))


def _read(root: Path, name: str) -> np.ndarray:
    try:
        return decoded(records.read(f"{root}/{name}"))
    except FileNotFoundError:
        raise FileNotFoundError("no such file") from None
    except OSError as error:
        raise OSError(f"cannot be read ({error.strerror or error})") from None


def decoded(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises ValueError for bytes that are no picture."""
    image = decode(data)
    if image is None:
        raise ValueError(f"{len(data):,} bytes that are no picture OpenCV can decode" if data else "zero bytes")
    return image


def _walk(root: Path) -> list[str]:
    """The pictures below `root`, sorted, as paths relative to it; links to folders are followed, each folder once."""
    found, seen = [], set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith((".", "__MACOSX"))]
        if real not in seen:
            found += [os.path.relpath(f"{folder}/{name}", root) for name in files if records.is_image(name)]
        seen.add(real)
    return sorted(name.replace(os.sep, "/") for name in found)


def _listed(path: Path, root: Path, row: Callable[[str], Row] | None) -> Source:
    rows = read_list(path)
    if not root.is_dir():
        raise FileNotFoundError(f"--root: found no folder {root}; expected what the paths of {path} are relative to")
    for each in rows:
        records.below(root, each.path)
    return _files(root, [row(each.path) for each in rows] if row else rows)


def _zip_names(path: Path) -> list[str]:
    try:
        return records.members(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: found a damaged archive ({error}); get it again") from None


def _tar(path: Path, row: Callable[[str], Row]) -> Source:
    """In the order of the archive, which is read from front to back: a packed one cannot be read in any other."""
    try:
        with tarfile.open(path) as archive:
            rows = [row(member.name) for member in _tar_members(path, archive)]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"{path}: found a damaged archive ({said}); get it again") from None

    def load(positions: Iterable[int]) -> Iterator[Load]:
        with tarfile.open(path) as archive:
            members = enumerate(_tar_members(path, archive))
            for position in positions:
                member = next(member for i, member in members if i == position)
                file = archive.extractfile(member)
                yield functools.partial(decoded, file.read() if file else b"")

    return Source(path, rows, load)


def _tar_members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its pictures. Raises ValueError for one that is a link, or whose name leaves the archive."""
    for member in archive:
        records.below(path, member.name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in member.name.removeprefix("./").split("/"))
        if not records.is_image(member.name.rpartition("/")[2]) or hidden or member.isdir():
            continue
        if not member.isfile():
            raise ValueError(
                f"{path}: found {member.name!r}, which is no plain file; expected pictures: do not use this archive"
            )
        yield member
