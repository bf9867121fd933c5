"""A drawn data set on disk: which pictures it holds, and bringing a folder to hold exactly those.

The folder has Market-1501's form. Every picture depends on the seed, its domain, its identity and its number alone, so the
bytes are the same for any number of processes, and a drawing that was broken off goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from reid.data import files, records

from .domains import Domain, find

log = logging.getLogger("reid")

RENDERER = 2  # raise it with every change that alters a picture: trees of another number are drawn again
STAMP = "walkers.json"
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
_MIN_CAMERAS, _MAX_CAMERAS = 2, 4  # that see one identity
_MIN_PICTURES = 4  # two cameras, and of each a query and a picture to be found
_MIN_SIDE, _MAX_SIDE = 16, 1024
_MAX_IDS = 1_000_000
_IDS_A_PROCESS = 12  # fewer are not worth starting one: it paints its own backgrounds first


class Shot(NamedTuple):
    """One picture to be drawn: of whom, by which camera, its number among theirs, and the folder it belongs in."""

    pid: int
    camid: int
    number: int
    part: str

    @property
    def file(self) -> str:
        return f"{self.part}/{self.pid:04d}_c{self.camid}s1_{self.number:06d}_00.jpg"


@dataclass(frozen=True)
class Tree:
    """Everything that decides the pictures of a drawn set.

    ids: identities of the set's own purpose: to train on for a source, to search for elsewhere. test_ids: further identities
    of a source, never trained on and to be searched for. pictures: of each identity. height, width: px. seed: the edition.
    shifted: every picture as `shift` changes it.
    Raises ValueError for what cannot be drawn.
    """

    domain: str
    ids: int
    pictures: int
    height: int = 128
    width: int = 64
    test_ids: int = 0
    seed: int = 0
    shifted: bool = False

    def __post_init__(self) -> None:
        place = find(self.domain)
        _expect(
            "SIZE",
            (self.height, self.width),
            min(self.height, self.width) >= _MIN_SIDE,
            f"{_MIN_SIDE} px or more a side",
        )
        _expect(
            "SIZE",
            (self.height, self.width),
            max(self.height, self.width) <= _MAX_SIDE,
            f"{_MAX_SIDE} px or less a side",
        )
        _expect(
            "SIZE", (self.height, self.width), self.width <= 2 * self.height, "a picture at most twice as wide as high"
        )
        _expect("IDS", self.ids, 1 <= self.ids <= _MAX_IDS, f"1 to {_MAX_IDS:,}")
        _expect("TEST_IDS", self.test_ids, 0 <= self.test_ids <= _MAX_IDS, f"0 to {_MAX_IDS:,}")
        _expect(
            "PICTURES",
            self.pictures,
            _MIN_PICTURES <= self.pictures <= 999_999,
            f"{_MIN_PICTURES} or more of each identity",
        )
        _expect("EDITION", self.seed, self.seed >= 0, "0 or more")
        if self.test_ids and place.role != "source":
            raise ValueError(
                f"walkers: found TEST_IDS {self.test_ids} for {self.domain}, a {place.role} domain whose identities are all "
                "searched for; leave it out and set IDS"
            )

    @property
    def place(self) -> Domain:
        return find(self.domain)

    @property
    def name(self) -> str:
        """The folder's name. What it says apart may lie side by side."""
        test = f"+{self.test_ids}" if self.test_ids else ""
        name = f"{self.domain}_{self.ids}{test}x{self.pictures}_{self.height}x{self.width}_seed{self.seed}"
        return f"{name}_shifted" if self.shifted else name

    @property
    def stamp(self) -> dict[str, object]:
        """A set that is not shifted does not say so: those drawn before there was a shift stay valid."""
        return {"renderer": RENDERER, **{k: v for k, v in self.__dict__.items() if k != "shifted" or v}}

    def shots_of(self, pid: int) -> list[Shot]:
        """The pictures of an identity: two to four cameras take turns, and each camera's first is the query."""
        rng = np.random.default_rng((self.seed, self.place.key, 3, pid))
        num_cameras = min(int(rng.integers(_MIN_CAMERAS, _MAX_CAMERAS + 1)), self.pictures // 2)
        camids = [int(c) + 1 for c in rng.permutation(self.place.cameras)[:num_cameras]]
        train = self.place.role == "source" and pid <= self.ids
        parts = [TRAIN] * self.pictures if train else [QUERY] * num_cameras + [GALLERY] * (self.pictures - num_cameras)
        return [Shot(pid, camids[k % num_cameras], k, part) for k, part in enumerate(parts)]

    def shots(self) -> list[Shot]:
        return [shot for pid in range(1, self.ids + self.test_ids + 1) for shot in self.shots_of(pid)]


def _expect(option: str, found: object, fine: bool, expected: str) -> None:
    if not fine:
        raise ValueError(f"walkers: found {option} {found}; expected {expected}: give one that can be drawn")


def ensure(tree: Tree, root: str | Path, processes: int = 0) -> Path:
    """The folder of a tree below `root`, drawn where it is missing, finished where it is not whole.

    processes: how many draw at once; 0: as many as there are cores.
    Raises ValueError for a folder of that name that this program did not draw, RuntimeError where drawing failed.
    """
    folder = Path(root).expanduser().absolute() / tree.name
    if _is_whole(folder, tree):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.alone(folder):
        if not _is_whole(folder, tree):  # another run may have drawn it while this one waited
            missing = _prepare(folder, tree)
            _draw(folder, tree, missing, processes or files.num_cores())
            _write_stamp(folder, tree, whole=True)
    return folder


def _is_whole(folder: Path, tree: Tree) -> bool:
    """Whether the stamp says so and no picture has gone since."""
    if _read_stamp(folder) != {**tree.stamp, "whole": True}:
        return False
    there = {f"{part}/{path.name}" for part in (TRAIN, QUERY, GALLERY) for path in _pictures(folder / part)}
    return all(shot.file in there for shot in tree.shots())


def _prepare(folder: Path, tree: Tree) -> list[int]:
    """Make the folder ready for drawing: old or damaged pictures removed. Returns the identities that miss a picture."""
    stamp = _read_stamp(folder)
    if folder.exists() and not stamp and any(folder.iterdir()):
        raise ValueError(
            f"{folder}: found files but no {STAMP}; expected a tree drawn by this program: move the folder away"
        )
    stale = {k: v for k, v in stamp.items() if k != "whole"} != tree.stamp
    if stamp and stale:
        log.info("walkers: %s was drawn by another renderer; drawing it again", folder)
    folder.mkdir(exist_ok=True)
    # From here on the folder counts as half-drawn, whatever happens.
    _write_stamp(folder, tree, whole=False)
    kept = set()
    for part in (TRAIN, QUERY, GALLERY):
        (folder / part).mkdir(exist_ok=True)
        for path in files.whole_pictures(folder / part):
            if stale:
                path.unlink()
            else:
                kept.add(f"{part}/{path.name}")
    return sorted({shot.pid for shot in tree.shots() if shot.file not in kept})


def _pictures(folder: Path) -> list[Path]:
    return records.images(folder) if folder.is_dir() else []


def _draw(folder: Path, tree: Tree, pids: list[int], processes: int) -> None:
    """Let processes draw the missing pictures of these identities, with a progress bar.

    They are fresh interpreters: a fork of a process that runs torch's threads may hang, and multiprocessing's spawn imports
    the caller's script a second time.
    """
    count = max(min(processes, len(pids) // _IDS_A_PROCESS), 1)
    log.info(
        "walkers: drawing %d people of %s at %dx%d into %s", len(pids), tree.domain, tree.height, tree.width, folder
    )
    above_reid = Path(__file__).resolve().parents[3]  # `-m` looks in the working folder first
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "reid.data.walkers.worker", json.dumps(tree.__dict__), str(folder)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=write_end, cwd=above_reid) for _ in range(count)]
    os.close(write_end)
    try:
        for first, worker in enumerate(workers):
            # Through a pipe: a command line is too short for thousands of identities.
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError), worker.stdin:  # one that died at once: its status tells
                worker.stdin.write(json.dumps(pids[first::count]).encode())
        with (
            os.fdopen(read_end) as done,
            tqdm(total=len(pids), desc=f"drawing {tree.domain}", unit="person", disable=None) as bar,
        ):
            for _ in done:
                bar.update()
        failed = sum(worker.wait() != 0 for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if failed:
        raise RuntimeError(
            f"walkers: {failed} of {count} drawing processes failed, see above; run it again to go on in {folder}"
        )


def _read_stamp(folder: Path) -> dict[str, object]:
    """The stamp of a folder; empty where there is none or it cannot be read."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(folder: Path, tree: Tree, whole: bool) -> None:
    files.write(folder / STAMP, (json.dumps({**tree.stamp, "whole": whole}, indent=1) + "\n").encode())
