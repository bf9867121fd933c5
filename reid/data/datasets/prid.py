"""PRID 2011, single shot: one picture per person from each of two cameras above a street.

Counts: cam_a 385 pictures, cam_b 749; both saw the people 1 to 200.
Splits: ten draws of 100 of those 200, `reid/data/splits/prid.json`: 100 pictures of cam_a are searched for among 649 of
cam_b, their mates and the people 201 to 749. The set has no splits of its own, and those of other toolkits were drawn
without a seed. The other 100 are not trained on, as they are others in each split: as a source the set is used whole,
with `all`.
Quirks: from 201 on, the same number means another person in the other camera; those of cam_a have 1,000 added here.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named, _splits
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="PRID 2011 (Hirzer, Beleznai, Roth, Bischof, SCIA 2011)",
    terms="not known to this toolkit; see the page",
    page="https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/PRID11/",
)
COUNTS = {"cam_a images": 385, "cam_b images": 749, "people seen by both": 200}
LAST_SHARED = 200
TREE = "single_shot/cam_a/ and single_shot/cam_b/ with pictures named person_<number>, as person_0001.png"
_NAME = re.compile(r"person_(\d+)\.")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; ten trials. With `all` every picture is trained on and nothing is left to score.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    parents = ("prid2011/prid_2011", "prid_2011", "prid2011", "prid")
    candidates = [f"{parent}/single_shot" for parent in parents]
    folder = records.find(root, candidates, dataset="prid", card=CARD, tree=TREE)
    numbers_a, numbers_b = (_named.parse(folder / camera, _NAME, TREE) for camera in ("cam_a", "cam_b"))
    cam_a = [Sample(path, n if n <= LAST_SHARED else n + 1_000, 1) for path, (n,) in numbers_a]
    cam_b = [Sample(path, n, 2) for path, (n,) in numbers_b]
    found = {
        "cam_a images": len(cam_a),
        "cam_b images": len(cam_b),
        "people seen by both": len({sample.pid for sample in cam_a} & {sample.pid for sample in cam_b}),
    }
    notes = records.check_counts("prid", found, COUNTS, check_counts)
    if all:
        return Dataset("prid", folder, cam_a + cam_b, [], CARD, variant={"all": True}, notes=notes)
    splits, sha = _splits.read("prid")
    trials = [_trial(cam_a, cam_b, set(test)) for test in splits]
    return Dataset("prid", folder, [], trials, CARD, variant={"all": False, "splits": sha}, notes=notes)


def _trial(cam_a: list[Sample], cam_b: list[Sample], test: set[int]) -> Trial:
    gallery = [sample for sample in cam_b if sample.pid in test or sample.pid > LAST_SHARED]
    return Trial([sample for sample in cam_a if sample.pid in test], gallery)
