"""Writes a folder of pictures on all cores: finished where it was broken off, there under its name once it is whole."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from reid.data import files, records

log = logging.getLogger("reid")


class Job(NamedTuple):
    """Pictures that are made together, such as the people cut out of one scene.

    names: of their files, .png. source: what they are made from, in plain values whose text is the same in every process.
    """

    names: tuple[str, ...]
    source: Any


def write(folder: Path, jobs: Sequence[Job], make: Callable[[Any], Iterable[np.ndarray]], unit: str) -> None:
    """Brings `folder` to hold the pictures of all jobs; nothing is done where it does.

    Args:
        make: source -> the job's pictures in order, (H, W, 3) uint8 BGR. Called in threads: OpenCV decodes and encodes
            outside Python's lock.
        unit: what one job is called beside the progress bar.
    Raises ValueError where two pictures have one name or the folder holds others; and whatever `make` raises.
    """
    names = {name for job in jobs for name in job.names}
    if len(names) < sum(len(job.names) for job in jobs):
        raise ValueError(
            f"{folder}: found pictures of one name among those to write; expected the release as published"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.alone(folder):
        if folder.exists():
            _check_same(folder, names)
            return
        # The name says what is being written, so that nothing half-written is taken over by another release.
        digest = hashlib.sha256(repr(list(jobs)).encode()).hexdigest()[:8]
        partial = folder.with_name(f".{folder.name}.{digest}")
        partial.mkdir(exist_ok=True)
        kept = {path.name for path in files.whole_pictures(partial)}
        todo = [job for job in jobs if not kept.issuperset(job.names)]
        log.info("%s: %d pictures to write, %d are there", folder, len(names), len(kept))
        pool = ThreadPoolExecutor(files.num_cores())
        try:
            done = pool.map(lambda job: _save(partial, job.names, make(job.source)), todo)
            for _ in tqdm(done, desc=folder.name, total=len(todo), unit=unit, disable=None):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
        partial.replace(folder)


def _check_same(folder: Path, names: set[str]) -> None:
    found = {path.name for path in records.images(folder)}
    if found != names:
        raise ValueError(
            f"{folder}: found {len(found - names):,} pictures that this release does not give and {len(names - found):,} of "
            f"its {len(names):,} missing; expected no such folder: move it away"
        )
    log.info("%s: whole already", folder)


def _save(folder: Path, names: Sequence[str], pictures: Iterable[np.ndarray]) -> None:
    for name, picture in zip(names, pictures, strict=True):
        fine, packed = cv2.imencode(".png", picture)
        assert fine, f"OpenCV could not encode {picture.shape}"
        files.write(folder / name, packed.tobytes())
