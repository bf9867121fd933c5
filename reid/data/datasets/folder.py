"""Any set of your own, in one of three forms; its name is the last part of PATH.

market   bounding_box_train/, query/, bounding_box_test/ with pictures named <pid>_c<camid>...; or pictures so named
         directly in the folder, which are then all for training.
classes  a folder of pictures per class, all for training; or the same below train/ and test/, or train/, query/ and
         gallery/. There are no cameras.
csv      a CSV file (or a folder with one) whose first line is `path,pid,camid,split`: path relative to the file, pid any
         text, camid a whole number or empty, split one of train, query, gallery; or test, which searches itself. Other
         orders, spellings and separators are read where they leave no doubt: see `_csv`.

Classes are numbered from 1 over their sorted names, as pid 0 would be a distractor.

Counts: none are known. Terms: yours to know.
"""

from __future__ import annotations

import os
from pathlib import Path

from reid.data import passed_over, records
from reid.data.datasets import _csv, _market
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(title="a folder of your own", terms="not known to this toolkit", page="datasets/README.md")
FORMS = ("market", "classes", "csv")
SPLITS = _csv.SPLITS
TREE = "a folder or a CSV file below DATASETS.ROOT in one of the forms market, classes, csv"

Parts = dict[str, list[Sample]]


def load(
    root: str | Path, *, path: str, form: str = "auto", metric: str = "reid", check_counts: bool = True
) -> Dataset:
    """Reads `path`, relative to a root, in the given form or the one its contents show.

    Args:
        form: auto, market, classes or csv.
        metric: reid (CMC and mAP over queries and a gallery) or retrieval (R@K; a test/ folder searches itself).
        check_counts: taken because every set takes it; nothing is known about this one.
    Raises FileNotFoundError where nothing is there, ValueError where the form does not fit.
    """
    if metric not in ("reid", "retrieval"):
        raise ValueError(f"folder: found METRIC {metric!r}; expected reid or retrieval")
    if form not in ("auto", *FORMS):
        raise ValueError(f"folder: found FORM {form!r}; expected auto, {', '.join(FORMS)}")
    outside = Path(path).expanduser()
    if outside.is_absolute() or ".." in outside.parts:
        outside = Path(str(root).split(os.pathsep)[0], outside).resolve()
        raise ValueError(
            f"folder: found PATH {path}; expected a path below DATASETS.ROOT: set that to {outside.parent} and PATH to {outside.name}"
        )
    records.below("DATASETS.ROOT", path)
    place = records.find(root, [path], dataset="folder", card=CARD, tree=TREE)
    form = _form_of(place) if form == "auto" else form
    with passed_over.noticing() as seen:
        parts = {"market": _market_parts, "classes": _class_parts, "csv": _csv_parts}[form](place)
        notes = _passed_over(place, parts, form, seen)
    if not any(parts.values()):
        told = "".join(f" ({note})" for note in notes)
        raise ValueError(f"folder: found no pictures in {place} read as {form}{told}; expected {TREE}")
    return Dataset(
        Path(path).stem if place.is_file() else Path(path).name,
        place.parent if place.is_file() else place,
        parts.get("train", []),
        _trials(parts, place, metric),
        CARD,
        metric=metric,
        variant={"form": form},
        notes=notes,
    )


def _form_of(place: Path) -> str:
    if place.is_file() or _csv_files(place):
        return "csv"
    # A folder `query` alone may just as well hold class folders.
    if any((place / part).is_dir() for part in _market.PARTS if part != "query") or records.images(place):
        return "market"
    return "classes"


def _trials(parts: Parts, place: Path, metric: str) -> list[Trial]:
    if "test" in parts:
        if "query" in parts or "gallery" in parts:
            raise ValueError(f"folder: found test beside query or gallery in {place}; expected one or the other")
        if metric == "reid":
            raise ValueError(
                f"folder: found a test part in {place}, which can only be searched within itself; expected query and "
                "gallery for METRIC reid: make them, or set METRIC retrieval"
            )
        return [Trial(parts["test"])]
    query, gallery = parts.get("query", []), parts.get("gallery", [])
    if bool(query) != bool(gallery):
        raise ValueError(
            f"folder: found {len(query)} query and {len(gallery)} gallery pictures in {place}; expected both or neither"
        )
    return [Trial(query, gallery)] if query else []


def _market_parts(place: Path) -> Parts:
    if not any((place / part).is_dir() for part in _market.PARTS):
        return {"train": _market.people(_market.read(place))}
    if not (place / _market.PARTS[1]).is_dir():
        return {"train": _market.people(_market.read(place / _market.PARTS[0]))}
    if not (place / _market.PARTS[0]).is_dir():
        query, gallery = (_market.read(place / part) for part in _market.PARTS[1:])
        return {"query": _market.people(query), "gallery": gallery}
    return dict(zip(SPLITS[:3], _market.split(place), strict=True))


def _class_parts(place: Path) -> Parts:
    tops = {folder.name: folder for folder in records.folders(place) if folder.name in SPLITS}
    tops = tops or {"train": place}
    names = sorted({folder.name for top in tops.values() for folder in records.folders(top)})
    pids = {name: pid for pid, name in enumerate(names, start=1)}
    return {
        split: [
            Sample(str(path), pids[folder.name], None)
            for folder in records.folders(top)
            for path in records.images(folder)
        ]
        for split, top in tops.items()
    }


def _csv_files(folder: Path) -> list[Path]:
    """CSV files in `folder` that list pictures; other lists may lie beside the pictures."""
    return [path for path in sorted(folder.glob("*.csv")) if path.is_file() and _csv.is_one(path)]


def _csv_parts(place: Path) -> Parts:
    files = [place] if place.is_file() else _csv_files(place)
    if len(files) != 1:
        raise ValueError(
            f"folder: found {len(files)} CSV files for {place}; expected one whose first line is {','.join(_csv.COLUMNS)}"
        )
    rows = _csv.rows(files[0])
    pids = {name: pid for pid, name in enumerate(sorted({row.pid for row in rows}), start=1)}
    parts: Parts = {split: [] for split in SPLITS}
    for row in rows:
        parts[row.split].append(Sample(str(row.path), pids[row.pid], row.camid))
    return {split: sorted(samples, key=lambda sample: sample.path) for split, samples in parts.items() if samples}


def _passed_over(place: Path, parts: Parts, form: str, seen: passed_over.PassedOver) -> tuple[str, ...]:
    """For `Dataset.notes`: pictures in folders that the form does not read or its list does not name, and files of other kinds."""
    pictures = {sample.path for samples in parts.values() for sample in samples}
    notes: list[str] = []
    if form == "csv":
        folders = {os.path.dirname(path) for path in pictures}  # noqa: PTH120
        beside = [path for folder in sorted(folders) if Path(folder).is_dir() for path in records.images(folder)]
        unlisted = [str(path) for path in beside if str(path) not in pictures]
        place = place.parent if place.is_file() else place
        if unlisted:
            notes.append(
                f"{len(unlisted):,} pictures beside those of the list are not in it, {passed_over.firsts(unlisted, place)}"
            )
    elif place.is_dir():
        records.images(place)  # whatever else lies there is of the set too
    return tuple(f"{place.name}: {note}" for note in (*notes, *seen.notes(place, pictures)))
