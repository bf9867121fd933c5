"""MSMT17: fifteen cameras, 4,101 people, 126,441 pictures.

Counts: train 1,041 ids 32,621 images (list_train.txt and list_val.txt together); query 11,659 images; gallery 82,161
images; test 3,060 ids.
Quirks: V1 shows faces, V2 has them masked, and results on them differ: with both on disk VERSION must say which. A folder
repacked in Market-1501's form does not tell its version. Many train on list_train.txt alone, others on list_val.txt too:
LISTS says which. People are numbered from 0 in both halves; see `_halves`. Camera numbers have one or two digits.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _halves, _lists, _market
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="MSMT17 (Wei et al.: Person transfer GAN to bridge domain gap for person re-identification, CVPR 2018)",
    terms="by agreement with its authors; no redistribution",
    page="datasets/README.md, section msmt17",
    status="on request",
)
COUNTS = {
    "train ids": 1_041,
    "train images": 32_621,
    "query ids": 3_060,
    "query images": 11_659,
    "gallery images": 82_161,
}
LISTS = ("train+val", "train")
# version -> the folders of its two halves, by which it is known
VERSIONS = {
    "v1": ("train", "test"),
    "v2": ("mask_train_v2", "mask_test_v2"),
    "repacked": ("bounding_box_train", "bounding_box_test"),
}
TREE = (
    "MSMT17_V1/ with train/, test/ or MSMT17_V2/ with mask_train_v2/, mask_test_v2/, each with list_train.txt, "
    "list_val.txt, list_query.txt and list_gallery.txt; or MSMT17/ with bounding_box_train/, query/, bounding_box_test/"
)
_NAME = re.compile(r"\d+_\d+_(\d+)_[^/\\]+")


def load(
    root: str | Path, *, check_counts: bool = True, version: str = "auto", lists: str = "train+val", all: bool = False
) -> Dataset:
    """Reads the set.

    Args:
        version: v1, v2, repacked, or auto for the only one there is.
        lists: what is trained on, train+val (list_train.txt and list_val.txt) or train.
        all: every person of both halves is trained on, whatever `lists`, and nothing is left to score.
    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where two versions are found,
    a line is no line of a list, or the set differs from what was published.
    """
    if version not in ("auto", *VERSIONS):
        raise ValueError(f"msmt17: found VERSION {version!r}; expected auto, {', '.join(VERSIONS)}")
    if lists not in LISTS:
        raise ValueError(f"msmt17: found LISTS {lists!r}; expected {' or '.join(LISTS)}")
    folder, version = _find(root, version)
    if version == "repacked":
        if lists == "train" and not all:
            raise ValueError(
                f"msmt17: found LISTS train for {folder}, where both lists are one folder; expected train+val"
            )
        train, query, gallery = _halves.split(folder)
        validation: list[Sample] = []
    else:
        here, there = (folder / half for half in VERSIONS[version])
        train, validation = (_listed(here, folder / f"list_{part}.txt", _halves.TRAIN) for part in ("train", "val"))
        query, gallery = (_listed(there, folder / f"list_{part}.txt", _halves.TEST) for part in ("query", "gallery"))
    # What is on disk is compared, not what was chosen: the published number is that of both lists.
    found = _market.count(train + validation, query, gallery)
    notes = records.check_counts("msmt17", found, COUNTS, check_counts)
    if all:
        people = sorted(train + validation + query + gallery)
        return Dataset("msmt17", folder, people, [], CARD, variant={"version": version, "all": True}, notes=notes)
    if lists == "train+val":
        train = sorted(train + validation)
    variant = {"version": version, "lists": lists, "all": False}
    return Dataset("msmt17", folder, train, [Trial(query, gallery)], CARD, variant=variant, notes=notes)


def _find(root: str | Path, version: str) -> tuple[Path, str]:
    """The set's folder and its version."""
    wanted = list(VERSIONS) if version == "auto" else [version]
    places = {}
    for name in wanted:
        with contextlib.suppress(FileNotFoundError):
            places[name] = _place(root, [name])
    if len(places) > 1:
        found = ", ".join(f"{name} in {place}" for name, place in places.items())
        raise ValueError(f"msmt17: found {found}; expected one: say which with VERSION")
    for name, place in places.items():
        return place, name
    return _place(root, wanted), version  # raises, naming every path


def _place(root: str | Path, versions: list[str]) -> Path:
    candidates = []
    for version in versions:
        bases = ["MSMT17", "msmt17"]
        if version != "repacked":
            bases = [f"MSMT17_{version.upper()}", f"msmt17/MSMT17_{version.upper()}", *bases]
        candidates += [f"{base}/{VERSIONS[version][0]}" for base in bases]
    return records.find(root, candidates, dataset="msmt17", card=CARD, tree=TREE).parent


def _listed(half: Path, file: Path, start: int) -> list[Sample]:
    """The pictures that a list of lines `<folder>/<picture> <pid>` names, sorted by path."""
    if not file.is_file():
        raise FileNotFoundError(f"msmt17: found no {file}; expected {TREE}. The lists come with the pictures")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        path, _, pid = line.strip().rpartition(" ")
        match = _NAME.fullmatch(path.rpartition("/")[2])
        if match is None or not pid.isdecimal() or int(pid) >= _halves.TRAIN:
            raise ValueError(
                f"{file}, line {number}: found {line!r}; expected <folder>/<pid>_<index>_<camid>_... <pid>"
            )
        rows.append((path, start + int(pid), int(match[1])))
    paths = _lists.pictures(file, half, [path for path, _, _ in rows])
    return sorted(Sample(path, pid, camid) for path, (_, pid, camid) in zip(paths, rows, strict=True))
