"""PKU-Reid: two cameras with a strong shift of colour, every person seen once from eight sides by each.

Counts: 16 pictures per person (2 cameras x 8 orientations); 114 persons, 1,824 pictures when complete. Parts of the set
are in use, so the number of persons is no error: it is in the variant, and so in every fingerprint.
Quirks: two forms on disk, `<person>/<camera 01,02>_<orientation 1-8>.png` and flat `PKUv1a_128x48/<pid>_<cam>_*.png`.
The set has no query and gallery of its own: here each camera is searched with the other's pictures, and all pictures
are the training part for whoever uses the set as a source. PEOPLE takes a part of them: `looked_at` are the ten that may be
looked at and trained on while a model is made, `others` the rest, which nothing is chosen on.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="PKU-Reid (Ma, Liu, Hu, Wang, Sun: Orientation driven bag of appearances for person re-identification, 2016)",
    terms="CC BY-NC-SA 4.0: non-commercial, credit, share alike",
    page="https://github.com/charliememory/PKU-Reid-Dataset",
    may_show=True,
)
PICTURES_A_PERSON = 16
LOOKED_AT = frozenset([1, 12, 20, 30, 42, 52, 62, 77, 89, 109])  # every fourth of the 37 people of the part in use here
PEOPLE = ("all", "looked_at", "others")
TREE = "pku_reid*/<person>/<camera 01,02>_<orientation 1-8>.png, or PKUv1a_128x48/<pid>_<cam>_*.png"
_IN_FOLDERS = re.compile(r"0*([12])_0*[1-8]\.")
_FLAT = re.compile(r"(\d+)_0*([12])_")


def load(root: str | Path, *, people: str = "all", check_counts: bool = True) -> Dataset:
    """Reads the set; two trials: camera 1 searched for in camera 2, and the other way round.

    people: `all`, the ten `looked_at`, or the `others`.
    Raises FileNotFoundError where the set is missing; ValueError naming the person whose pictures are not 16.
    """
    if people not in PEOPLE:
        raise ValueError(f"pku_reid: found PEOPLE {people}; expected {', '.join(PEOPLE)}")
    candidates = ["PKUv1a_128x48", "pku_reid*/PKUv1a_128x48", "pku_reid*"]
    folder = records.find(root, candidates, dataset="pku_reid", card=CARD, tree=TREE)
    samples = _in_folders(folder) or _flat(folder)
    if people != "all":
        samples = [sample for sample in samples if (sample.pid in LOOKED_AT) == (people == "looked_at")]
    pids = sorted({sample.pid for sample in samples})
    if not pids:
        raise FileNotFoundError(f"pku_reid: found no pictures in {folder}; expected {TREE}")
    found = {f"pictures of person {pid:03d}": 0 for pid in pids}
    for sample in samples:
        found[f"pictures of person {sample.pid:03d}"] += 1
    notes = records.check_counts("pku_reid", found, dict.fromkeys(found, PICTURES_A_PERSON), check_counts)
    one, two = ([sample for sample in samples if sample.camid == camid] for camid in (1, 2))
    trials = [Trial(one, two), Trial(two, one)]
    variant = {"persons": len(pids), **({"people": people} if people != "all" else {})}
    return Dataset("pku_reid", folder, samples, trials, CARD, variant=variant, notes=notes)


def _in_folders(folder: Path) -> list[Sample]:
    people = [person for person in records.folders(folder) if person.name.isdecimal()]
    return [
        Sample(str(path), int(person.name), int(_parse(_IN_FOLDERS, path)[1]))
        for person in people
        for path in records.images(person)
    ]


def _flat(folder: Path) -> list[Sample]:
    names = [(path, _parse(_FLAT, path)) for path in records.images(folder)]
    return [Sample(str(path), int(name[1]), int(name[2])) for path, name in names]


def _parse(pattern: re.Pattern[str], path: Path) -> re.Match[str]:
    match = pattern.match(path.name)
    if match is None:
        raise ValueError(f"{path}: found this name; expected {TREE}")
    return match
