"""i-LIDS, in full QMUL i-LIDS pedestrians: 119 people in an airport hall, a few pictures each.

Counts: 119 people, 476 pictures.
Splits: ten draws of 60 people and, of each, of two pictures: one query, one in the gallery; `reid/data/splits/ilids.json`.
The set has none of its own, and those of other toolkits were drawn without a seed. A draw holds random numbers in [0, 1)
which count through a person's sorted pictures, as their number differs. The other 59 people are not trained on, as they
are others in each split: as a source the set is used whole, with `all`.
Quirks: names are `<person, 4 digits><picture, 3 digits>.jpg`. Other toolkits read the picture's number as a camera; the
cameras are not known, so nothing is junk.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named, _splits
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="QMUL i-LIDS pedestrians (Zheng, Gong, Xiang: Associating Groups of People, BMVC 2009)",
    terms="not known to this toolkit; the footage is the UK Home Office's i-LIDS",
    page="http://www.eecs.qmul.ac.uk/~jason/data/i-LIDS_Pedestrian.tgz",
)
COUNTS = {"people": 119, "images": 476, "people with one image": 0}
TREE = "i-LIDS_Pedestrian/Persons/ with pictures named <person, 4 digits><picture, 3 digits>, as 0001001.jpg"
_NAME = re.compile(r"(\d{4})\d{3}\.")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; ten trials. With `all` every picture is trained on and nothing is left to score.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    candidates = ["ilids/i-LIDS_Pedestrian/Persons", "i-LIDS_Pedestrian/Persons", "QMUL-iLIDS/images", "ilids/Persons"]
    folder = records.find(root, candidates, dataset="ilids", card=CARD, tree=TREE)
    samples = [Sample(path, pid, None) for path, (pid,) in _named.parse(folder, _NAME, TREE)]
    people: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        people[sample.pid].append(sample)
    found = {
        "people": len(people),
        "images": len(samples),
        "people with one image": sum(len(own) == 1 for own in people.values()),
    }
    notes = records.check_counts("ilids", found, COUNTS, check_counts)
    if all:
        return Dataset("ilids", folder, samples, [], CARD, variant={"all": True}, notes=notes)
    splits, sha = _splits.read("ilids")
    in_order = [people[pid] for pid in sorted(people)]
    trials = [_trial(in_order, rows) for rows in splits]
    return Dataset("ilids", folder, [], trials, CARD, variant={"all": False, "splits": sha}, notes=notes)


def _trial(people: list[list[Sample]], rows: list[tuple[int, float, float]]) -> Trial:
    """Two pictures of each person drawn; who has only one, or is missing, cannot be searched for."""
    query, gallery = [], []
    for place, u, v in rows:
        own = people[place] if place < len(people) else []
        if len(own) > 1:
            rest = own.copy()
            query.append(rest.pop(int(u * len(own))))
            gallery.append(rest[int(v * len(rest))])
    return Trial(query, gallery)
