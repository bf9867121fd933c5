"""Digests of whole files, kept between runs: a file is read whole again only where its size or its time has changed.

They lie in `contents.json` in the folder $REID_CACHE, else `reid` among the user's caches ($XDG_CACHE_HOME, ~/.cache). It may be
deleted, and one that is malformed is passed over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from reid import schema, whole
from reid.data import records

logger = logging.getLogger(__name__)
T = TypeVar("T")
_THREADS, _CHUNK = 8, 1000


def digests(paths: Iterable[str]) -> dict[str, str]:
    """{path: a digest of all bytes} of files and of members of archives. Raises as `records.read`."""
    names = {path: os.path.abspath(path) for path in paths}  # noqa: PTH100
    if not names:
        return {}
    file = _file()
    kept = _kept(file)
    stamps = {path: _stamp(path) for path in names}
    new = [path for path, stamp in stamps.items() if kept.get(names[path], [])[:2] != stamp]
    kept |= {names[path]: [*stamps[path], digest] for path, digest in threaded(_digest, new)}
    if new:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole.writing(file) as out:
                out.write(json.dumps(kept).encode())
        except OSError as error:
            logger.warning("digests of files are not kept: %s", error)
    return {path: kept[name][2] for path, name in names.items()}


def threaded(function: Callable[[str], T], items: Sequence[str]) -> list[tuple[str, T]]:
    """(item, function(item)) of all, in their order."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return [
            pair for pairs in pool.map(lambda chunk: [(one, function(one)) for one in chunk], chunks) for pair in pairs
        ]


def _file() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(os.environ.get("REID_CACHE") or caches / "reid") / "contents.json"


def _kept(file: Path) -> dict[str, list]:
    """{path: [size, time, digest]}; empty where there are none."""
    try:
        kept = json.loads(file.read_bytes())
        schema.check(kept, dict[str, list])
        for size, moment, digest in kept.values():
            schema.check([size, moment], list[int])
            schema.check(digest, str)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s is malformed and was passed over: %s", file, str(error).partition("\n")[0])
        return {}
    return kept


def _stamp(path: str) -> list[int]:
    """Size and time of a file; of a member of an archive, those of the archive."""
    archive, dot_zip, _ = path.partition(".zip/")
    status = os.stat(archive + ".zip" if dot_zip and os.path.isfile(archive + ".zip") else path)  # noqa: PTH113, PTH116
    return [status.st_size, status.st_mtime_ns]


def _digest(path: str) -> str:
    return hashlib.blake2b(records.read(path), digest_size=16).hexdigest()
