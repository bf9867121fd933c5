"""Market-1501: six cameras before a supermarket, 1,501 people; pictures cut out by a detector.

Counts: train 751 ids 12,936 images; query 750 ids 3,368 images; gallery 19,732 files, of which 15,913 are loaded.
Quirks: 3,819 gallery files have pid -1 (junk, never loaded); 2,798 have pid 0 (distractors: searched, never a match,
never trained on). The folder of 500,000 more distractors is not read.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _market
from reid.data.records import Card, Dataset, Trial

CARD = Card(
    title="Market-1501 (Zheng et al., ICCV 2015)",
    terms="research only, with citation; no licence text is given, so no redistribution",
    page="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
)
COUNTS = {
    "train ids": 751,
    "train images": 12_936,
    "query ids": 750,
    "query images": 3_368,
    "gallery images": 15_913,
    "gallery files": 19_732,
}
COUNTS_ALL = {"train ids": 1_501, "train images": 29_419}


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; with `all` every person of train, query and gallery is trained on and nothing is left to score.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    folder = records.find(
        root,
        ["Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15", "market1501", "Market-1501"],
        dataset="market1501",
        card=CARD,
        tree=_market.TREE,
    )
    train, query, gallery = _market.split(folder)
    found = _market.count(train, query, gallery) | {"gallery files": len(records.images(folder / _market.PARTS[2]))}
    notes = records.check_counts("market1501", found, COUNTS, check_counts)
    trials = [Trial(query, gallery)]
    if all:
        train, trials = train + query + _market.people(gallery), []
        pids = {sample.pid for sample in train}
        found = {"train ids": len(pids), "train images": len(train)}
        notes += records.check_counts("market1501, all people", found, COUNTS_ALL, check_counts)
    return Dataset("market1501", folder, train, trials, CARD, variant={"all": all}, notes=notes)
