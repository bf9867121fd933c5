"""QMUL GRID: eight cameras in an underground station; 250 people seen by two of them, 775 more seen by one.

Counts: probe 250 pictures; gallery 1,025, of which 775 show nobody of the 250.
Splits: the ten official partitions, read from features_and_partitions.mat: 125 people are searched for among 900
pictures, their 125 mates and the 775. The other 125 are not trained on, as they are others in each partition: as a
source the 250 pairs are used whole, with `all`.
Quirks: names are `<person>_<camera>_....jpeg`; person 0000 are the 775, distractors as everywhere in this toolkit:
searched, never a match, never trained on.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from scipy import io

from reid.data import records
from reid.data.datasets import _market, _named, _splits
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="QMUL underGround Re-IDentification, GRID (Loy, Xiang, Gong, CVPR 2009)",
    terms="not known to this toolkit; see the page",
    page="http://personal.ie.cuhk.edu.hk/~ccloy/downloads_qmul_underground_reid.html",
)
COUNTS = {"probe images": 250, "gallery images": 1_025, "distractors": 775, "people in both": 250}
PARTITIONS, TRAIN_PEOPLE = 10, 125
TREE = "probe/, gallery/ with pictures named <person>_<camera>_..., as 0001_1_....jpeg, and features_and_partitions.mat"
_NAME = re.compile(r"(\d+)_(\d+)_")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; ten trials. With `all` the 250 pairs are trained on and nothing is left to score.

    Raises FileNotFoundError where a part is missing, ValueError where it differs from what was published.
    """
    parents = ("grid", "GRID", "Grid")
    candidates = [*(f"{parent}/underground_reid" for parent in parents), "underground_reid", *parents]
    folder = records.find(root, candidates, dataset="grid", card=CARD, tree=TREE)
    probe, gallery = (_read(folder / part) for part in ("probe", "gallery"))
    mates = _market.people(gallery)
    found = {
        "probe images": len(probe),
        "gallery images": len(gallery),
        "distractors": len(gallery) - len(mates),
        "people in both": len({sample.pid for sample in probe} & {sample.pid for sample in mates}),
    }
    notes = records.check_counts("grid", found, COUNTS, check_counts)
    if all:
        return Dataset("grid", folder, probe + mates, [], CARD, variant={"all": True}, notes=notes)
    partitions = _partitions(folder / "features_and_partitions.mat")
    trials = [Trial(_without(probe, train), _without(gallery, train)) for train in partitions]
    variant = {"all": False, "splits": _splits.short_hash(json.dumps(partitions))}
    return Dataset("grid", folder, [], trials, CARD, variant=variant, notes=notes)


def _read(folder: Path) -> list[Sample]:
    return [Sample(path, pid, camid) for path, (pid, camid) in _named.parse(folder, _NAME, TREE)]


def _without(samples: list[Sample], pids: list[int]) -> list[Sample]:
    return [sample for sample in samples if sample.pid not in pids]


def _partitions(path: Path) -> list[list[int]]:
    """The people to train on in each official partition."""
    if not path.is_file():
        raise FileNotFoundError(f"grid: found no {path}; expected {TREE}: unpack the data set again, whole")
    try:
        # The rest of the file is features. Each cell is a struct whose third field holds the people.
        cells = io.loadmat(str(path), variable_names=["trainIdxAll"])["trainIdxAll"][0]
        partitions = [sorted(int(pid) for pid in cell[0][0][2][0]) for cell in cells]
    except Exception as error:  # whatever a damaged file makes of the parser
        raise ValueError(f"{path}: found no partitions ({error}); expected the official file: get it again") from error
    sizes = [len(set(partition)) for partition in partitions]
    if sizes != [TRAIN_PEOPLE] * PARTITIONS:
        raise ValueError(
            f"{path}: found partitions of {sizes} people; expected {PARTITIONS} of {TRAIN_PEOPLE}: get the file again"
        )
    return partitions
