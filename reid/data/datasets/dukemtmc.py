"""DukeMTMC-reID: eight cameras. Withdrawn by its makers; here only to audit numbers of old papers.

Counts: train 702 ids 16,522 images; query 702 ids 2,228 images; gallery 17,661 images. With ALL 1,812 ids 36,411 images:
1,404 of train and query, and 408 who are in the gallery only.
Quirks: the 408 have pids of their own, so they are people and no distractors in Market-1501's sense (pid 0).
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _market
from reid.data.records import Card, Dataset, Trial

CARD = Card(
    title="DukeMTMC-reID",
    terms="withdrawn: there are none under which it could be had",
    page="datasets/README.md, section dukemtmc",
    status="withdrawn",
    notice=(
        "Taken down by Duke University on 25 April 2019 after it found a significant deviation from the approved protocol "
        "(filmed outdoors, open to everybody instead of on request); its author apologised on 13 June 2019."
    ),
)
COUNTS = {
    "train ids": 702,
    "train images": 16_522,
    "query ids": 702,
    "query images": 2_228,
    "gallery images": 17_661,
}
COUNTS_ALL = {"train ids": 1_812, "train images": 36_411}


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; with `all` every person of train, query and gallery is trained on and nothing is left to score.

    A run reads it only with DATASETS.ALLOW_WITHDRAWN, and keeps the notice in its results.
    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    candidates = ["DukeMTMC-reID", "dukemtmc/DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID", "dukemtmc", "dukemtmc-reid"]
    folder = records.find(root, candidates, dataset="dukemtmc", card=CARD, tree=_market.TREE)
    train, query, gallery = _market.split(folder)
    notes = records.check_counts("dukemtmc", _market.count(train, query, gallery), COUNTS, check_counts)
    trials = [Trial(query, gallery)]
    if all:
        train, trials = train + query + _market.people(gallery), []
        found = {"train ids": len({sample.pid for sample in train}), "train images": len(train)}
        notes += records.check_counts("dukemtmc, all people", found, COUNTS_ALL, check_counts)
    return Dataset("dukemtmc", folder, train, trials, CARD, variant={"all": all}, notes=notes)
