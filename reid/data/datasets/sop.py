"""Stanford Online Products: photos of things offered on eBay, a few of each; trained on half of them, scored on the other.

Counts: train 11,318 classes 59,551 images; test 11,316 classes 60,502 images, each picture searching the rest.
Quirks: a class is one thing offered; the twelve folders (`bicycle_final`, ...) are kinds of things and no classes.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Stanford Online Products (Song, Xiang, Jegelka, Savarese: Deep metric learning via lifted structured feature "
    "embedding, CVPR 2016)",
    terms="not known to this toolkit; see the page",
    page="https://cvgl.stanford.edu/projects/lifted_struct/",
)
COUNTS = {
    "train classes": 11_318,
    "train images": 59_551,
    "test classes": 11_316,
    "test images": 60_502,
}
KS = (1, 10, 100, 1000)
TREE = "Ebay_train.txt, Ebay_test.txt (rows `image_id class_id super_class_id path`) and the photos they name"
HEADER = r"image_id class_id super_class_id path"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; each test picture searches the other test pictures.

    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where a list is of another
    form, a class is in both, or the set differs from what was published.
    """
    candidates = ["Stanford_Online_Products", "sop/Stanford_Online_Products", "sop", "SOP"]
    folder = records.find(root, candidates, dataset="sop", card=CARD, tree=TREE)
    train, test = (_half(folder, half) for half in ("train", "test"))
    _lists.apart("sop", train, test)
    notes = records.check_counts("sop", _lists.count(train, test), COUNTS, check_counts) + _lists.lonely("sop", test)
    return Dataset("sop", folder, train, [Trial(test)], CARD, metric="retrieval", ks=KS, notes=notes)


def _half(folder: Path, half: str) -> list[Sample]:
    file = folder / f"Ebay_{half}.txt"
    rows = _lists.rows(file, r"\d+ (\d+) \d+ (\S.*)", "<image> <class> <super class> <path>", header=[HEADER])
    return _lists.samples(file, folder, ((path, int(number)) for number, path in rows))
