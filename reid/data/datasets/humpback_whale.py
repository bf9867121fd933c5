"""Humpback Whale Identification: flukes of whales, from a competition; trained on half of the whales, scored on the other.

Counts: 15,697 images of known whales, 2,073 whales with one image.
Split: the set has none whose test whales are new and known, so the whales are halved: of their names (w_f48451c), which
tell nothing, in sorted order, the first half is trained on. The first picture of each other whale is searched for in the
rest. A whale with one picture has no match: it is in the gallery and no query.
OPEN_SET: the half that is scored is halved again, and with it the pictures of new_whale, turn about. Each part is a search
of its own, in which its pictures of new_whale are queries whose whale is not in the gallery. The first is held out, to choose
the score below which new_whale is the answer; only the second is scored.
Quirks: the list has 9,664 pictures more, of whales that nobody has named; they all bear the name new_whale and are not
loaded without OPEN_SET. The competition's test/ has no names and is not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Humpback Whale Identification (Happywhale, Kaggle 2018)",
    terms="those of the competition; see the page",
    page="https://www.kaggle.com/c/humpback-whale-identification",
)
COUNTS = {"images": 15_697, "whales with one image": 2_073}
KS = (1, 5)
UNKNOWN = "new_whale"
TREE = "train.csv (first line `Image,Id`) and train/ with the pictures it names"


def load(root: str | Path, *, open_set: bool = False, check_counts: bool = True) -> Dataset:
    """Reads the set; one query per test whale, the other pictures of test whales are the gallery.

    open_set: whales that nobody has named are queries too, and a part of the test whales is held out; see above.

    Raises FileNotFoundError where the set, the list or a listed picture is missing; ValueError where the list is of another
    form or differs from what was released.
    """
    candidates = ["humpback-whale-identification", "humpback_whale/humpback-whale-identification", "humpback_whale"]
    folder = records.find(root, candidates, dataset="humpback_whale", card=CARD, tree=TREE)
    file = folder / "train.csv"
    rows = _lists.rows(file, r"([^,/\\]+),(new_whale|w_\w+)", "<picture>,<whale>", header=["Image,Id"])
    nameless = [name for name, whale in rows if whale == UNKNOWN]
    rows = [row for row in rows if row[1] != UNKNOWN]
    numbers = {whale: number for number, whale in enumerate(sorted({whale for _, whale in rows}))}
    whales: dict[int, list[Sample]] = defaultdict(list)
    for sample in _lists.samples(file, folder / "train", ((name, numbers[whale]) for name, whale in rows)):
        whales[sample.pid].append(sample)
    found = {"images": len(rows), "whales with one image": sum(len(own) == 1 for own in whales.values())}
    notes = records.check_counts("humpback_whale", found, COUNTS, check_counts)
    half = len(whales) // 2
    train = [sample for number in range(half) for sample in whales[number]]
    if not open_set:
        trial = _search(whales, range(half, len(whales)))
        return Dataset("humpback_whale", folder, train, [trial], CARD, metric="retrieval", ks=KS, notes=notes)
    # Each is a whale of its own, as far as anybody knows.
    numbered = ((name, len(whales) + number) for number, name in enumerate(sorted(nameless)))
    unknown = list(_lists.samples(file, folder / "train", numbered))
    middle = (half + len(whales)) // 2
    held_out = _search(whales, range(half, middle), unknown[::2])
    trial = _search(whales, range(middle, len(whales)), unknown[1::2])
    about: dict[str, Any] = {"variant": {"open_set": True}, "notes": notes, "held_out": held_out}
    return Dataset("humpback_whale", folder, train, [trial], CARD, metric="retrieval", ks=KS, **about)


def _search(whales: Mapping[int, Sequence[Sample]], numbers: Iterable[int], unknown: Sequence[Sample] = ()) -> Trial:
    """The first picture of each whale with several is searched for in all others; `unknown` are queries besides."""
    query: list[Sample] = []
    gallery: list[Sample] = []
    for number in numbers:
        own = whales[number]
        searched_for = 1 if len(own) > 1 else 0
        query += own[:searched_for]
        gallery += own[searched_for:]
    return Trial([*query, *unknown], gallery)
