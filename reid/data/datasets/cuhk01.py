"""CUHK01: two views, 971 people, two pictures of each in either view.

Counts: 971 ids, 3,884 images.
Quirks: names are a person of four digits and a picture of three, `0001001.png`; pictures 1 and 2 are of one view, 3 and 4
of the other. It overlaps CUHK02: training on one and scoring the other scores people who were seen.
The set has no query and gallery of its own: here each view is searched with the other's pictures, over everybody, and all
pictures are the training part for whoever uses the set as a source.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="CUHK01 (Li, Zhao, Wang: Human reidentification with transferred metric learning, ACCV 2012)",
    terms="given on request by its makers, under the terms they set",
    page="http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    status="on request",
)
COUNTS = {"ids": 971, "images": 3_884}
TREE = "campus/ with pictures named <person, 4 digits><picture 001-004>.png, as 0001001.png"
_NAME = re.compile(r"(\d{4})00([1-4])\.")


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; two trials: view 1 searched for in view 2, and the other way round.

    Raises FileNotFoundError where the set is missing; ValueError where it differs from what was published.
    """
    candidates = ["cuhk01/campus", "CUHK01/campus", "campus"]
    folder = records.find(root, candidates, dataset="cuhk01", card=CARD, tree=TREE)
    samples = [_sample(path) for path in records.images(folder)]
    found = {"ids": len({sample.pid for sample in samples}), "images": len(samples)}
    notes = records.check_counts("cuhk01", found, COUNTS, check_counts)
    one, two = ([sample for sample in samples if sample.camid == view] for view in (1, 2))
    return Dataset("cuhk01", folder, samples, [Trial(one, two), Trial(two, one)], CARD, notes=notes)


def _sample(path: Path) -> Sample:
    match = _NAME.match(path.name)
    if match is None:
        raise ValueError(f"{path}: found this name; expected {TREE}")
    return Sample(str(path), int(match[1]), 1 if match[2] in "12" else 2)
