"""PersonX: 1,266 drawn people turned before six cameras; the harder subset that domain adaptation uses.

Counts: train 9,840 pictures; query 5,136; gallery 30,816.
Quirks: Market-1501's form; the cameras on disk are 3, 4, 8, 10, 11 and 12, here 1 to 6.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _market
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="PersonX (Sun, Zheng: Dissecting Person Re-Identification from the Viewpoint of Viewpoint, CVPR 2019)",
    terms="not known to this toolkit; see the page",
    page="https://github.com/sxzrt/Instructions-of-the-PersonX-dataset",
)
COUNTS = {"train images": 9_840, "query images": 5_136, "gallery images": 30_816}
CAMERAS = {3: 1, 4: 2, 8: 3, 10: 4, 11: 5, 12: 6}


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; one trial. With `all` the test people are trained on too and nothing is left to score.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    parents = ("personx", "PersonX", "personX")
    candidates = [*(f"{parent}/subset1" for parent in parents), *parents]
    folder = records.find(root, candidates, dataset="personx", card=CARD, tree=_market.TREE)
    train, query, gallery = ([_renumber(sample) for sample in part] for part in _market.split(folder))
    found = _market.count(train, query, gallery)
    notes = records.check_counts("personx", found, COUNTS, check_counts)
    train, trials = (train + query + _market.people(gallery), []) if all else (train, [Trial(query, gallery)])
    return Dataset("personx", folder, train, trials, CARD, variant={"all": all}, notes=notes)


def _renumber(sample: Sample) -> Sample:
    if sample.camid not in CAMERAS:
        raise ValueError(f"{sample.path}: found camera {sample.camid}; expected one of {', '.join(map(str, CAMERAS))}")
    return sample._replace(camid=CAMERAS[sample.camid])
