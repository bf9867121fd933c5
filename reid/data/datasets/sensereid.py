"""SenseReID: two cameras of real surveillance; made to be scored on, never to be trained on.

Counts: probe 522 people 1,040 pictures; gallery 1,717 people 3,388 pictures.
Quirks: names are `<person>_<camera>.jpg`; pid is the number plus one, as pid 0 is a distractor in this toolkit. Probe
lies in `test_probe/` or `test_prob/`. As a source the set is used whole, with `all`.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="SenseReID (Zhao et al.: Spindle Net, CVPR 2017)",
    terms="not known to this toolkit; ask its makers",
    page="https://drive.google.com/file/d/0B56OfSrVI8hubVJLTzkwV2VaOWM/view",
)
COUNTS = {"query ids": 522, "query images": 1_040, "gallery ids": 1_717, "gallery images": 3_388}
TREE = "test_probe/ (or test_prob/) and test_gallery/ with pictures named <person>_<camera>, as 0001_0.jpg"
_NAME = re.compile(r"(\d+)_(\d+)\.")


def load(root: str | Path, *, check_counts: bool = True, all: bool = False) -> Dataset:
    """Reads the set; one trial. With `all` every picture is trained on and nothing is left to score.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    candidates = ["sensereid/SenseReID", "SenseReID", "sensereid"]
    folder = records.find(root, candidates, dataset="sensereid", card=CARD, tree=TREE)
    probe = "test_prob" if (folder / "test_prob").is_dir() else "test_probe"
    query, gallery = (_read(folder / part) for part in (probe, "test_gallery"))
    found = {
        "query ids": _named.ids(query),
        "query images": len(query),
        "gallery ids": _named.ids(gallery),
        "gallery images": len(gallery),
    }
    notes = records.check_counts("sensereid", found, COUNTS, check_counts)
    train, trials = (query + gallery, []) if all else ([], [Trial(query, gallery)])
    return Dataset("sensereid", folder, train, trials, CARD, variant={"all": all}, notes=notes)


def _read(folder: Path) -> list[Sample]:
    return [Sample(path, person + 1, camid) for path, (person, camid) in _named.parse(folder, _NAME, TREE)]
