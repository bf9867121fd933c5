"""VeRi-776: vehicles seen by twenty cameras of a town.

Counts: train 37,778 images; query 1,678 images; gallery 11,579 images.
Quirks: names begin `<vehicle>_c<camera>` as Market-1501's do, with cameras in three digits; there is no junk folder and no
distractor. A gallery picture of the query's vehicle and camera is junk, as for people.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists, _market
from reid.data.records import Card, Dataset, Trial

CARD = Card(
    title="VeRi-776 (Liu, Liu, Mei, Ma: A deep learning-based approach to progressive vehicle re-identification, ECCV 2016)",
    terms="non-commercial, given on request by its makers; not to be passed on",
    page="https://github.com/JDAI-CV/VeRidataset",
    status="on request",
)
COUNTS = {"train images": 37_778, "query images": 1_678, "gallery images": 11_579}
PARTS = ("image_train", "image_query", "image_test")
TREE = "image_train/, image_query/ and image_test/ with pictures named 0001_c001_00016450_0.jpg"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set.

    Raises FileNotFoundError where the set is missing; ValueError where a name has another form, a vehicle is trained on and
    scored, or the set differs from what was published.
    """
    candidates = ["VeRi", "veri776/VeRi", "veri/VeRi", "veri776", "veri"]
    folder = records.find(root, candidates, dataset="veri776", card=CARD, tree=TREE)
    train, query, gallery = (_market.read(folder / part) for part in PARTS)
    _lists.apart("veri776", train, query + gallery)
    notes = records.check_counts("veri776", _market.count(train, query, gallery), COUNTS, check_counts)
    return Dataset("veri776", folder, train, [Trial(query, gallery)], CARD, notes=notes)
