"""VehicleID (PKU): vehicles seen by cameras of a town from the front or the back; three test lists, two protocols.

Counts: train 13,164 ids 113,346 images; test small 800 ids 6,493 images, medium 1,600 ids 13,377 images, large 2,400 ids
19,777 images.
Protocols, whose figures lie far apart and must not stand in one table (their fingerprints differ):

reid    one picture of each vehicle is the gallery, all others are queries; ten draws, ten trials
dml     each test picture searches the other test pictures, as metric learning has it

Draws: the set has none, and other toolkits draw anew in each run. Here the gallery picture of a vehicle in draw 0 to 9 is
the one whose sha256 of `<draw> <picture's number>` is least: as good as random, and the same wherever and whenever the set
is read. They are nobody else's draws.
Quirks: no list tells the cameras, so nothing is junk.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="VehicleID (Liu, Tian, Wang, Pang, Huang: Deep relative distance learning, CVPR 2016)",
    terms="given on request by its makers, under the terms they set",
    page="https://pkuml.org/resources/pku-vehicleid.html",
    status="on request",
)
COUNTS = {"train classes": 13_164, "train images": 113_346}
# SIZE -> how many vehicles, which is also in the name of the list, and how many pictures
SIZES = {"small": (800, 6_493), "medium": (1_600, 13_377), "large": (2_400, 19_777)}
PROTOCOLS = ("reid", "dml")
DRAWS = 10
KS = (1, 5)
TREE = "image/0000001.jpg and train_test_split/ with train_list.txt, test_list_800.txt, test_list_1600.txt, test_list_2400.txt"


def load(root: str | Path, *, check_counts: bool = True, size: str = "small", protocol: str = "reid") -> Dataset:
    """Reads the set.

    Args:
        size: of the test list: small (800 vehicles), medium (1,600) or large (2,400).
        protocol: reid (ten trials, one gallery picture a vehicle) or dml (each picture searches the rest).
    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where an option is unknown, a
    list is of another form, a vehicle is trained on and scored, or the set differs from what was published.
    """
    if size not in SIZES:
        raise ValueError(f"vehicleid: found SIZE {size!r}; expected {', '.join(SIZES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"vehicleid: found PROTOCOL {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    candidates = ["VehicleID_V1.0", "vehicleid/VehicleID_V1.0", "vehicleid", "VehicleID"]
    folder = records.find(root, candidates, dataset="vehicleid", card=CARD, tree=TREE)
    vehicles, pictures = SIZES[size]
    train, test = (_listed(folder, name) for name in ("train_list", f"test_list_{vehicles}"))
    _lists.apart("vehicleid", train, test)
    expected = {**COUNTS, "test classes": vehicles, "test images": pictures}
    notes = records.check_counts(f"vehicleid, {size}", _lists.count(train, test), expected, check_counts)
    notes += _lists.lonely("vehicleid", test)
    trials = [Trial(test)] if protocol == "dml" else _draws(test)
    return Dataset(
        "vehicleid",
        folder,
        train,
        trials,
        CARD,
        metric="retrieval",
        ks=KS,
        variant={"size": size, "protocol": protocol},
        notes=notes,
    )


def _listed(folder: Path, name: str) -> list[Sample]:
    file = folder / "train_test_split" / f"{name}.txt"
    rows = _lists.rows(file, r"(\d+) (\d+)", "<picture> <vehicle>")
    return _lists.samples(file, folder / "image", ((f"{picture}.jpg", int(vehicle)) for picture, vehicle in rows))


def _draws(samples: Sequence[Sample]) -> list[Trial]:
    """In each trial one picture of each vehicle is the gallery; who has only one is in it and no query."""
    vehicles: dict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for sample in samples:
        vehicles[sample.pid].append((Path(sample.path).stem, sample))
    trials = []
    for draw in range(DRAWS):
        gallery = [
            min((_place(draw, number), sample) for number, sample in own)[1] for _, own in sorted(vehicles.items())
        ]
        drawn = set(gallery)
        trials.append(Trial([sample for sample in samples if sample not in drawn], gallery))
    return trials


def _place(draw: int, number: str) -> bytes:
    return hashlib.sha256(f"{draw} {number}".encode()).digest()
