"""CUB-200-2011: photos of birds, 200 species; trained on the first hundred, scored on the other hundred.

Counts: 200 classes, 11,788 images; classes 1 to 100 are trained on, 101 to 200 are scored, each picture searching the rest.
Quirks: the set's own train_test_split.txt splits pictures and not classes, as classification needs; it is not read. Boxes
and parts are not used: pictures are whole.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Trial

CARD = Card(
    title="Caltech-UCSD Birds-200-2011 (Wah, Branson, Welinder, Perona, Belongie 2011)",
    terms="not known to this toolkit; see the page",
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
)
COUNTS = {"train classes": 100, "test classes": 100, "images": 11_788}
KS = (1, 2, 4, 8)
LAST_TRAIN_CLASS = 100
TREE = "images.txt, image_class_labels.txt and images/ with the photos they name"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; each test picture searches the other test pictures.

    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where the lists are of another
    form, do not fit together, or differ from what was published.
    """
    candidates = ["CUB_200_2011", "cub200/CUB_200_2011", "cub200", "CUB200"]
    folder = records.find(root, candidates, dataset="cub200", card=CARD, tree=TREE)
    names: dict[str, str] = dict(_lists.rows(folder / "images.txt", r"(\d+) (\S.*)", "<number> <path>"))
    classes: dict[str, str] = dict(_lists.rows(folder / "image_class_labels.txt", r"(\d+) (\d+)", "<number> <class>"))
    if names.keys() != classes.keys():
        raise ValueError(
            f"cub200: found {len(names):,} pictures in images.txt and {len(classes):,} in image_class_labels.txt of {folder}, "
            "not the same ones; expected one row per picture in each: unpack the data set again"
        )
    everything = _lists.samples(
        folder / "images.txt", folder / "images", ((name, int(classes[number])) for number, name in names.items())
    )
    train = [sample for sample in everything if sample.pid <= LAST_TRAIN_CLASS]
    test = [sample for sample in everything if sample.pid > LAST_TRAIN_CLASS]
    notes = records.check_counts("cub200", _lists.count(train, test), COUNTS, check_counts) + _lists.lonely(
        "cub200", test
    )
    return Dataset("cub200", folder, train, [Trial(test)], CARD, metric="retrieval", ks=KS, notes=notes)
