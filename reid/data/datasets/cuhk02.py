"""CUHK02: five pairs of cameras, 1,816 people, each seen by the two cameras of one pair, four pictures per person.

Counts: P1 to P5 971, 306, 107, 193 and 239 ids; 1,816 ids 7,264 images in all.
Quirks: people are numbered anew in each pair, so pid 30_012 is number 12 of P3; cameras are 1 and 2 in P1 to 9 and 10 in P5.
By default P1 to P4 are trained on, and camera 1 of P5 is searched for in camera 2; the sources of published work on new
domains are all five pairs (ALL). It overlaps CUHK01.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="CUHK02 (Li, Wang: Locally aligned feature transforms across views, CVPR 2013)",
    terms="given on request by its makers, under the terms they set",
    page="http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    status="on request",
)
PEOPLE = {"P1": 971, "P2": 306, "P3": 107, "P4": 193, "P5": 239}
PICTURES_A_PERSON = 4
COUNTS = {f"{pair} ids": ids for pair, ids in PEOPLE.items()}
COUNTS |= {f"{pair} images": ids * PICTURES_A_PERSON for pair, ids in PEOPLE.items()}
TREE = "cuhk02/Dataset/ (or cuhk02/) with P1/ to P5/, each with cam1/ and cam2/, pictures named <person>_..., as 001_045.png"
_NAME = re.compile(r"(\d{1,4})_")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; with `all` every person of the five pairs is trained on and nothing is left to score.

    Raises FileNotFoundError where the set or a folder is missing, ValueError where it differs from what was published.
    """
    candidates = ["cuhk02/Dataset", "CUHK02/Dataset", "cuhk02", "CUHK02"]
    folder = records.find(root, candidates, dataset="cuhk02", card=CARD, tree=TREE)
    pairs = [_pair(folder, index) for index in range(1, 6)]
    found: dict[str, int] = {}
    for name, pair in zip(PEOPLE, pairs, strict=True):
        found |= {f"{name} ids": len({sample.pid for sample in pair}), f"{name} images": len(pair)}
    notes = records.check_counts("cuhk02", found, COUNTS, check_counts)
    train = [sample for pair in (pairs if all else pairs[:4]) for sample in pair]
    query, gallery = ([sample for sample in pairs[4] if sample.camid == camid] for camid in (9, 10))
    trials = [] if all else [Trial(query, gallery)]
    return Dataset("cuhk02", folder, train, trials, CARD, variant={"all": all}, notes=notes)


def _pair(folder: Path, pair: int) -> list[Sample]:
    return [
        Sample(str(path), pair * 10_000 + _number(path), 2 * (pair - 1) + camera)
        for camera in (1, 2)
        for path in records.images(folder / f"P{pair}" / f"cam{camera}")
    ]


def _number(path: Path) -> int:
    match = _NAME.match(path.name)
    if match is None:
        raise ValueError(f"{path}: found this name; expected {TREE}")
    return int(match[1])
