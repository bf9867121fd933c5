"""CUHK03: the pictures out of its .mat file, as `reid.data.datasets.cuhk03` reads them.

The release: cuhk-03.mat, which is HDF5. `detected` and `labeled` are 5 cells, one per pair of cameras; each holds a row of 10 cells
per person, the first five for view 1; each of these is a picture, or empty. h5py shows MATLAB's axes reversed.
Written: images_detected/ and images_labeled/ with 1_001_1_01.png: pair, person, view, picture, all counted from 1. These
are the names in the published lists of the new protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reid.data import records
from reid.data.converters import _pictures
from reid.data.converters._pictures import Job
from reid.data.datasets.cuhk03 import BOXES, COUNTS_ALL

log = logging.getLogger("reid")

NUM_PAIRS, NUM_PICTURES = 5, 10


def convert(release: str | Path, output: str | Path, boxes: Sequence[str] = tuple(BOXES)) -> list[Path]:
    """Writes the pictures of cuhk-03.mat (`release`: the file, or its folder) below `output`; returns their folders.

    Args:
        boxes: detected, labelled, or both.
    Raises FileNotFoundError where the file is missing, ValueError for one of another form or without h5py.
    """
    for kind in boxes:
        if kind not in BOXES:
            raise ValueError(f"cuhk03: found the boxes {kind!r}; expected {' or '.join(BOXES)}")
    file = Path(release) / "cuhk-03.mat" if Path(release).is_dir() else Path(release)
    if not file.is_file():
        raise FileNotFoundError(f"cuhk03: found no {file}; expected the release's cuhk-03.mat")
    with _open(file) as mat:
        return [_extract(mat, kind, Path(output)) for kind in boxes]


def _open(file: Path):
    try:
        import h5py  # optional, for this converter only
    except ImportError as error:
        raise ValueError("cuhk03: reading cuhk-03.mat needs h5py: pip install h5py") from error
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise ValueError(
            f"{file}: found no HDF5 file ({error}); expected cuhk-03.mat as released: get it again"
        ) from error


def _extract(mat, kind: str, output: Path) -> Path:
    try:
        cells = _cells(mat, BOXES[kind])
        jobs = list(_jobs(mat, cells))
    except Exception as error:  # a damaged file makes h5py raise anything from KeyError to RuntimeError
        raise ValueError(
            f"{mat.filename}: found no {kind} pictures that can be read ({error}); get it again"
        ) from error
    found = {"ids": len({job.names[0][:5] for job in jobs}), "images": len(jobs)}
    for note in records.check_counts(f"cuhk03, {kind}", found, COUNTS_ALL[kind], strict=False):
        log.warning("%s", note)
    folder = output / f"images_{BOXES[kind]}"
    _pictures.write(folder, jobs, partial(_read, mat, cells), "picture")
    return folder


def _cells(mat, on_disk: str) -> list[np.ndarray]:
    """Of each pair of cameras the references to its pictures, (10, people)."""
    cells = [mat[reference][()] for reference in mat[on_disk][()].ravel()]
    shapes = [pair.shape for pair in cells]
    if len(cells) != NUM_PAIRS or any(len(shape) != 2 or shape[0] != NUM_PICTURES for shape in shapes):
        raise ValueError(f"found cells of the shapes {shapes}; expected {NUM_PAIRS} of (10, people)")
    return cells


def _jobs(mat, cells: Sequence[np.ndarray]) -> Iterator[Job]:
    """One a picture that is not empty; its source is its place in `cells`."""
    places = [(pair, number, person) for pair, own in enumerate(cells) for number, person in np.ndindex(own.shape)]
    for pair, number, person in tqdm(places, desc="listing", unit="picture", disable=None):
        # An empty cell is stored as the two sizes it would have.
        if mat[cells[pair][number, person]].ndim == 3:
            view = 1 if number < NUM_PICTURES // 2 else 2
            name = f"{pair + 1}_{person + 1:03d}_{view}_{number + 1:02d}.png"
            yield Job((name,), (pair, number, person))


def _read(mat, cells: Sequence[np.ndarray], place: tuple[int, int, int]) -> list[np.ndarray]:
    pair, number, person = place
    try:
        picture = mat[cells[pair][number, person]][()]  # (3, W, H) RGB
    except OSError as error:
        raise ValueError(f"{mat.filename}: found damage ({error}); get the file again") from error
    if len(picture) != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"{mat.filename}: found a picture of {picture.dtype} {picture.shape}; expected uint8 (3, W, H): get the file again"
        )
    return [np.ascontiguousarray(picture.transpose(2, 1, 0)[..., ::-1])]
