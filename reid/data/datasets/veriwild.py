"""VERI-Wild: vehicles seen by 174 cameras of a town during a month; three sizes of test lists.

Counts: train 30,671 ids 277,797 images; test small 3,000 ids, medium 5,000 ids, large 10,000 ids.
Quirks: the lists circulate in two forms, told apart by their names, and name the same pictures:

train_list_start0.txt, test_3000_id_query.txt, test_3000_id.txt     rows `11542/119083.jpg 0 23`: picture, number, camera
train_list.txt, test_3000_query.txt, test_3000.txt                  rows `11542/119083`; cameras are in vehicle_info.txt

The number in a row begins anew at 0 in the training list, so the vehicle is read from the folder.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="VERI-Wild (Lou, Bai, Liu, Wang, Duan, CVPR 2019)",
    terms="not known to this toolkit; see the page",
    page="https://github.com/PKU-IMRE/VERI-Wild",
    status="on request",
)
COUNTS = {"train classes": 30_671, "train images": 277_797}
SIZES = {"small": 3_000, "medium": 5_000, "large": 10_000}
TREE = (
    "images/<vehicle>/<picture>.jpg and train_test_split/ with train_list_start0.txt, test_3000_id_query.txt, "
    "test_3000_id.txt; or with train_list.txt, test_3000_query.txt, test_3000.txt and vehicle_info.txt"
)


def load(root: str | Path, *, check_counts: bool = True, size: str = "small") -> Dataset:
    """Reads the set.

    Args:
        size: of the test lists: small (3,000 vehicles), medium (5,000) or large (10,000).
    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where the option is unknown, a
    list is of another form, a vehicle is trained on and scored, or the set differs from what was published.
    """
    if size not in SIZES:
        raise ValueError(f"veriwild: found SIZE {size!r}; expected {', '.join(SIZES)}")
    candidates = ["VERI-Wild", "veriwild/VERI-Wild", "veriwild", "VeRI-Wild"]
    folder = records.find(root, candidates, dataset="veriwild", card=CARD, tree=TREE)
    lists, number = folder / "train_test_split", SIZES[size]
    cameras: dict[str, str] = {}
    names = ("train_list_start0", f"test_{number}_id_query", f"test_{number}_id")
    if not (lists / f"{names[0]}.txt").is_file():
        names = ("train_list", f"test_{number}_query", f"test_{number}")
        form, expected = r"(\d+/\d+);(\d+);.*", "<vehicle>/<picture>;<camera>;..."
        cameras = dict(_lists.rows(lists / "vehicle_info.txt", form, expected, header=[r"\D+;.*"]))
    train, query, gallery = (_listed(folder, lists / f"{name}.txt", cameras) for name in names)
    _lists.apart("veriwild", train, query + gallery)
    counts, found = {**COUNTS, "test classes": number}, _lists.count(train, query + gallery)
    notes = records.check_counts(f"veriwild, {size}", found, counts, check_counts)
    return Dataset("veriwild", folder, train, [Trial(query, gallery)], CARD, variant={"size": size}, notes=notes)


def _listed(folder: Path, file: Path, cameras: dict[str, str]) -> list[Sample]:
    """The pictures of one list; cameras: `<vehicle>/<picture>` -> camera, for lists whose rows do not tell it."""
    # Vehicle 0 would be a distractor in this toolkit; the set numbers them from 1.
    form = r"((0*[1-9]\d*)/\d+)(?:\.jpg)?(?: \d+ (\d+))?"
    rows = _lists.rows(file, form, "<vehicle>/<picture>, or <vehicle>/<picture>.jpg <number> <camera>")
    camids = [camid or cameras.get(name, "") for name, _, camid in rows]
    unknown = [name for (name, _, _), camid in zip(rows, camids, strict=True) if not camid]
    if unknown:
        raise ValueError(
            f"{file}: found {len(unknown):,} pictures without a camera, the first {unknown[0]}; expected it in the list, or "
            "in vehicle_info.txt: get the lists again"
        )
    paths = _lists.pictures(file, folder / "images", [f"{name}.jpg" for name, _, _ in rows])
    return sorted(
        Sample(path, int(pid), int(camid)) for path, (_, pid, _), camid in zip(paths, rows, camids, strict=True)
    )
