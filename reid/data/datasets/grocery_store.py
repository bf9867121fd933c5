"""Grocery Store: photos of fruit, vegetables and cartons taken with a phone in shops; 81 fine classes.

Counts: 5,421 photos; train 44 classes (0-43) 3,237 photos, test 37 classes (44-80) 2,184 photos.
Quirks: its own three lists split photos, not classes. Here the lists are joined and classes are split, as retrieval of
new classes needs; the border is where no coarse class (Apple, Milk, ...) lies on both sides. There are no cameras.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Grocery Store Dataset (Klasson, Zhang, Kjellström, WACV 2019)",
    terms="MIT",
    page="https://github.com/marcusklasson/GroceryStoreDataset",
    may_show=True,
)
COUNTS = {"train classes": 44, "train photos": 3_237, "test classes": 37, "test photos": 2_184}
FIRST_TEST_CLASS = 44
LISTS = ("train.txt", "val.txt", "test.txt")
TREE = "train.txt, val.txt, test.txt (rows `path, fine class, coarse class`) and the photos they name"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; each test photo searches the other test photos.

    Raises FileNotFoundError where the set is missing; ValueError where a row is no row, leaves the folder, or where
    training and test classes share a coarse class.
    """
    candidates = ["grocery_store_128", "GroceryStoreDataset/dataset", "grocery_store/dataset", "grocery_store"]
    folder = records.find(root, candidates, dataset="grocery_store", card=CARD, tree=TREE)
    rows = [row for name in LISTS for row in _rows(folder, name)]
    train = sorted(sample for sample, _ in rows if sample.pid < FIRST_TEST_CLASS)
    test = sorted(sample for sample, _ in rows if sample.pid >= FIRST_TEST_CLASS)
    shared = {c for s, c in rows if s.pid < FIRST_TEST_CLASS} & {c for s, c in rows if s.pid >= FIRST_TEST_CLASS}
    if shared:
        raise ValueError(
            f"grocery_store: found coarse classes {sorted(shared)} on both sides of fine class {FIRST_TEST_CLASS}; "
            "expected none: the lists are not those that were published"
        )
    found = {
        "train classes": len({sample.pid for sample in train}),
        "train photos": len(train),
        "test classes": len({sample.pid for sample in test}),
        "test photos": len(test),
    }
    notes = records.check_counts("grocery_store", found, COUNTS, check_counts)
    return Dataset("grocery_store", folder, train, [Trial(test)], CARD, metric="retrieval", notes=notes)


def _rows(folder: Path, name: str) -> list[tuple[Sample, int]]:
    """(sample, coarse class) of each row of one list."""
    if not (folder / name).is_file():
        raise FileNotFoundError(f"grocery_store: found no {folder / name}; expected {TREE}")
    rows = []
    for number, line in enumerate((folder / name).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            path, fine, coarse = line.rsplit(",", 2)
            sample = Sample(str(records.below(folder, path.strip())), int(fine), None)
            rows.append((sample, int(coarse)))
        except ValueError as error:
            raise ValueError(
                f"{folder / name}, line {number}: {error}; expected `path, fine class, coarse class`"
            ) from error
    return rows
