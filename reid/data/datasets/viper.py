"""VIPeR: 632 people, each seen once by each of two cameras out of doors.

Counts: 632 people, 632 pictures in cam_a and 632 in cam_b.
Splits: ten halves of 316 people, `reid/data/splits/viper.json`; cam_a is searched for in cam_b. The set has none of its
own, and those of other toolkits were drawn without a seed. The other half is not trained on, as it is another one in
each split: as a source the set is used whole, with `all`.
Quirks: names are `<person>_<angle of view>.bmp`. The numbers run from 000 to 873 with gaps; pid is the number plus one,
as pid 0 is a distractor in this toolkit.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named, _splits
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="VIPeR (Gray, Brennan, Tao, PETS workshop 2007)",
    terms="not known to this toolkit; see the page",
    page="https://vision.soe.ucsc.edu/node/178",
)
COUNTS = {"people": 632, "cam_a images": 632, "cam_b images": 632}
TREE = "cam_a/ and cam_b/ with pictures named <person>_<angle>, as 000_45.bmp"
_NAME = re.compile(r"(\d+)_\d+\.")


def load(root: str | Path, *, check_counts: bool = True, both_directions: bool = False, all: bool = False) -> Dataset:
    """Reads the set; ten trials, or twenty with `both_directions` (after each one, cam_b searched for in cam_a).

    With `all` every picture is trained on and nothing is left to score.
    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    candidates = ["viper/VIPeR", "VIPeR", "viper"]
    folder = records.find(root, candidates, dataset="viper", card=CARD, tree=TREE)
    cam_a, cam_b = (_camera(folder / f"cam_{name}", camid) for camid, name in enumerate("ab", start=1))
    people = sorted({sample.pid for sample in cam_a + cam_b})
    found = {"people": len(people), "cam_a images": len(cam_a), "cam_b images": len(cam_b)}
    notes = records.check_counts("viper", found, COUNTS, check_counts)
    if all:
        return Dataset("viper", folder, cam_a + cam_b, [], CARD, variant={"all": True}, notes=notes)
    splits, sha = _splits.read("viper")
    trials = []
    for places in splits:
        test = {people[place] for place in places if place < len(people)}
        a, b = ([sample for sample in camera if sample.pid in test] for camera in (cam_a, cam_b))
        trials += [Trial(a, b), Trial(b, a)] if both_directions else [Trial(a, b)]
    variant = {"all": False, "both_directions": both_directions, "splits": sha}
    return Dataset("viper", folder, [], trials, CARD, variant=variant, notes=notes)


def _camera(folder: Path, camid: int) -> list[Sample]:
    return [Sample(path, person + 1, camid) for path, (person,) in _named.parse(folder, _NAME, TREE)]
