"""Occluded-REID: people half hidden, to be searched for among pictures that show them whole.

Counts: none are checked; this toolkit has no source for them.
Quirks: `occluded_body_images/` is the query and `whole_body_images/` the gallery, with a folder per person or flat; names
begin `<person>_`. The cameras are not known, so nothing is junk. As a source the set is used whole, with `all`.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Occluded-REID (Zhuo, Chen, Lai, Wang: Occluded Person Re-identification, ICME 2018)",
    terms="non-commercial only, with citation",
    page="https://github.com/tinajia2012/ICME2018_Occluded-Person-Reidentification_datasets",
)
TREE = "occluded_body_images/ and whole_body_images/ with [<person>/]<person>_<n>, as 001/001_01.tif"
_NAME = re.compile(r"(\d+)_")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; one trial. With `all` every picture is trained on and nothing is left to score.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where a part is missing or empty, ValueError for a name of another form.
    """
    inner = "Occluded_REID"
    candidates = [f"ICME2018_Occluded-Person-Reidentification_datasets/{inner}", f"occluded_reid/{inner}", inner]
    candidates += ["OccludedREID", "occluded_reid"]
    folder = records.find(root, candidates, dataset="occluded_reid", card=CARD, tree=TREE)
    query, gallery = (_read(folder / part) for part in ("occluded_body_images", "whole_body_images"))
    for part in (query, gallery):
        _named.require("occluded_reid", part, folder, TREE)
    train, trials = (query + gallery, []) if all else ([], [Trial(query, gallery)])
    return Dataset("occluded_reid", folder, train, trials, CARD, variant={"all": all})


def _read(folder: Path) -> list[Sample]:
    places = [folder, *records.folders(folder)]
    return [Sample(path, pid, None) for place in places for path, (pid,) in _named.parse(place, _NAME, TREE)]
