"""RandPerson: drawn people with random clothes in eleven drawn scenes; here a source only.

Counts: none are checked; this toolkit has no source for them. What is read is the subset used in the paper.
Quirks: names are `<person>_s<scene>_c<camera>_f<frame>.jpg`, in an older release `<person>_c.._s..`. A camera's number
holds within its scene: camid is OFFSETS[scene] + camera, as in the makers' code. pid is the number plus one, as pid 0 is
a distractor in this toolkit.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="RandPerson (Wang, Liao, Shao: Surpassing Real-World Source Training Data, ACM Multimedia 2020)",
    terms="not known to this toolkit; see the page",
    page="https://github.com/VideoObjectSearch/RandPerson",
)
OFFSETS = (0, 2, 4, 6, 8, 9, 10, 12, 13, 14, 15)
TREE = "randperson_subset/ with pictures named <person>_s<scene 0-10>_c<camera>_f<frame>, as 000000_s00_c00_f000264.jpg"
_NAME = re.compile(r"(\d+)(?=\w*_s(0\d|10)_)(?=\w*_c(\d+)_)\w*_f\d+")  # s and c in either order


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set: every picture is for training.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where the set is missing or empty, ValueError for a name of another form.
    """
    subset = ("randperson_subset/randperson_subset", "randperson_subset")  # the archive holds the folder twice
    candidates = [parent + name for name in subset for parent in ("randperson/", "RandPerson/", "")]
    folder = records.find(root, candidates, dataset="randperson", card=CARD, tree=TREE)
    parsed = _named.parse(folder, _NAME, TREE)
    samples = [Sample(path, person + 1, OFFSETS[scene] + camera) for path, (person, scene, camera) in parsed]
    _named.require("randperson", samples, folder, TREE)
    return Dataset("randperson", folder, samples, [], CARD)
