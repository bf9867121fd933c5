"""Omniglot, the two small background sets: handwritten characters; trained on some alphabets, scored on others.

Counts: train 136 characters 2,720 drawings (all of small1); test 106 characters 2,120 drawings (Japanese, Sanskrit and
Tagalog of small2).
Quirks: Greek and Latin are in both archives; they are dropped from small2, so that no test class was trained on.
Read straight from the zip files as their authors ship them, or from the folders they unpack to. Pictures are 105x105,
one bit. There are no cameras.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Omniglot (Lake, Salakhutdinov, Tenenbaum, Science 2015)",
    terms="MIT",
    page="https://github.com/brendenlake/omniglot",
    may_show=True,
)
COUNTS = {"train characters": 136, "train drawings": 2_720, "test characters": 106, "test drawings": 2_120}
TREE = "omniglot/images_background_small1.zip and images_background_small2.zip, or the folders they unpack to"


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; each test drawing searches the other test drawings.

    Raises FileNotFoundError where a part is missing, ValueError where it differs from what was published.
    """
    folder = records.find(root, ["omniglot"], dataset="omniglot", card=CARD, tree=TREE)
    train, later = (_drawings(folder, part) for part in ("images_background_small1", "images_background_small2"))
    trained = {alphabet for alphabet, _ in train}
    test = {key: paths for key, paths in later.items() if key[0] not in trained}
    found = {
        "train characters": len(train),
        "train drawings": sum(map(len, train.values())),
        "test characters": len(test),
        "test drawings": sum(map(len, test.values())),
    }
    notes = records.check_counts("omniglot", found, COUNTS, check_counts)
    classes = {key: pid for pid, key in enumerate([*sorted(train), *sorted(test)])}
    trials = [Trial(_samples(test, classes))]
    return Dataset("omniglot", folder, _samples(train, classes), trials, CARD, metric="retrieval", notes=notes)


def _drawings(folder: Path, part: str) -> dict[tuple[str, str], list[str]]:
    """(alphabet, character) -> paths, sorted."""
    archive = folder / f"{part}.zip"
    if archive.is_file():
        names = [f"{archive}/{name}" for name in records.members(archive)]
    elif (folder / part).is_dir():
        characters = [c for alphabet in records.folders(folder / part) for c in records.folders(alphabet)]
        names = [path.as_posix() for character in characters for path in records.images(character)]
    else:
        raise FileNotFoundError(f"omniglot: found no {part}.zip and no {part}/ in {folder}; expected {TREE}")
    drawings: dict[tuple[str, str], list[str]] = {}
    for name in names:
        alphabet, character, _ = name.rsplit("/", 3)[1:]
        drawings.setdefault((alphabet, character), []).append(name)
    return drawings


def _samples(drawings: dict[tuple[str, str], list[str]], classes: dict[tuple[str, str], int]) -> list[Sample]:
    return [Sample(path, classes[key], None) for key in sorted(drawings) for path in drawings[key]]
