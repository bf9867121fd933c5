"""LPW, Labeled Pedestrian in the Wild: tracks from three crowded scenes of three or four cameras; here a source only.

Counts: none are checked; this toolkit has no source for them.
Quirks: `scen<s>/<camera>/<person>/*.jpg`. A person's number holds within its scene, and so does a camera's: here pid is
scene x 1,000,000 + number and camid is scene x 100 + camera, so that no two scenes share either.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="Labeled Pedestrian in the Wild, LPW (Song, Leng, Liu, Hetang, Cai, AAAI 2018)",
    terms="not known to this toolkit; see the page",
    page="http://liuyu.us/dataset/lpw/",
)
SCENES = (1, 2, 3)
TREE = "pep_256x128/scen1/, scen2/ and scen3/ with <camera>/<person>/*.jpg"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set: every picture is for training.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where the set or a scene is missing, ValueError for a folder without a number.
    """
    candidates = ["pep_256x128", "lpw/pep_256x128", "LPW/pep_256x128"]
    folder = records.find(root, candidates, dataset="lpw", card=CARD, tree=TREE)
    samples = []
    for scene in SCENES:
        for camera in records.folders(folder / f"scen{scene}"):
            camid = scene * 100 + _named.number(camera)
            for person in records.folders(camera):
                pid = scene * 1_000_000 + _named.number(person)
                samples += [Sample(str(path), pid, camid) for path in records.images(person)]
    _named.require("lpw", samples, folder, TREE)
    return Dataset("lpw", folder, samples, [], CARD)
