"""ClonedPerson: drawn people who wear the outfits of photographed ones, in several drawn scenes.

Counts: none are checked; this toolkit has no source for them.
Quirks: names are `<person>_s<scene>_c<camera>_f<frame>.jpg`. A camera's number holds within its scene: camid is
scene x 100 + camera. The makers' code takes cameras of one number for one camera whatever the scene, so that more of the
gallery is junk: `merge_scenes` does the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="ClonedPerson (Wang, Liang, Liao: Cloning Outfits from Real-World Images to 3D Characters, CVPR 2022)",
    terms="not known to this toolkit; see the page",
    page="https://github.com/Yanan-Wang-cs/ClonedPerson",
)
TREE = (
    "train/, test/query/ and test/gallery/ with pictures named <person>_s<scene>_c<camera>_f<frame>, "
    "as 700000_s02_c00_f023389.jpg"
)
_NAME = re.compile(r"(\d+)_s(\d+)_c(\d+)_f\d+")


def load(root: str | Path, *, check_counts: bool = True, merge_scenes: bool = False, all: bool = False) -> Dataset:
    """Reads the set; one trial. With `all` the test people are trained on too and nothing is left to score.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where a part is missing or empty, ValueError for a name of another form.
    """
    candidates = ["clonedperson/clonedperson", "clonedperson", "ClonedPerson"]
    folder = records.find(root, candidates, dataset="clonedperson", card=CARD, tree=TREE)
    parts = [_read(folder / part, merge_scenes) for part in ("train", "test/query", "test/gallery")]
    for part in parts:
        _named.require("clonedperson", part, folder, TREE)
    train, query, gallery = parts
    train, trials = (train + query + gallery, []) if all else (train, [Trial(query, gallery)])
    return Dataset("clonedperson", folder, train, trials, CARD, variant={"all": all, "merge_scenes": merge_scenes})


def _read(folder: Path, merge_scenes: bool) -> list[Sample]:
    parsed = _named.parse(folder, _NAME, TREE)
    return [
        Sample(path, pid, camera if merge_scenes else scene * 100 + camera) for path, (pid, scene, camera) in parsed
    ]
