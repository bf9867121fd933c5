"""Any set that is read here as one CSV file for `folder`: path, pid, camid, split. So lists of several forms (VeRi-776,
VehicleID, In-Shop, ...) get one, for other programs, for a part of a set, or for a split of one's own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from reid.data import files
from reid.data.datasets._csv import COLUMNS
from reid.data.records import Dataset, Sample


def convert(dataset: Dataset, output: str | Path, trial: int = 0) -> Path:
    """Writes the lists of a set to the file `output`, which must lie above the pictures, as paths are relative to it.

    Pictures of a trial without a gallery, which search each other, are of the split `test`.
    Args:
        trial: which one of several, from 1; 0 where there is one or none.
    Raises ValueError where the file's folder is not above the pictures, or the set has several trials and none is named.
    """
    file = Path(output).absolute()
    number = len(dataset.trials)
    if trial > number or (number > 1 and trial < 1):
        raise ValueError(f"{dataset.name}: found trial {trial}; expected one of its {number}, from 1: a list holds one")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample, split in _rows(dataset, max(trial, 1)):
        camid = "" if sample.camid is None else sample.camid
        writer.writerow([_relative(sample.path, file, dataset), sample.pid, camid, split])
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, lines.getvalue().encode())
    return file


def _rows(dataset: Dataset, trial: int) -> Iterator[tuple[Sample, str]]:
    for sample in dataset.train:
        yield sample, "train"
    for one in dataset.trials[trial - 1 : trial]:
        for sample in one.query:
            yield sample, "test" if one.gallery is None else "query"
        for sample in one.gallery or ():
            yield sample, "gallery"


def _relative(path: str, file: Path, dataset: Dataset) -> str:
    try:
        return Path(path).relative_to(file.parent).as_posix()
    except ValueError:
        raise ValueError(
            f"{file}: found the picture {path}; expected all of them below the folder of the list: write it to "
            f"{dataset.root / file.name}"
        ) from None
