"""CAVIAR4REID: pictures cut by hand from two cameras in a shopping centre; here a source only.

Counts: none are checked; this toolkit has no source for them.
Quirks: names begin with the person's four digits; which camera is not said, so the set cannot be scored without counting
pictures of one camera as matches.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="CAVIAR4REID (Cheng, Cristani, Stoppa, Bazzani, Murino: Custom Pictorial Structures, BMVC 2011)",
    terms="not known to this toolkit; see the page",
    page="http://www.lorisbazzani.info/caviar4reid.html",
)
TREE = "CAVIARa/ with pictures named <person, 4 digits>..., as 0001001.jpg"
_NAME = re.compile(r"(\d{4})")


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set: every picture is for training.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where the set is missing or empty, ValueError for a name of another form.
    """
    candidates = ["CAVIARa", "CAVIAR4REID/CAVIARa", "caviar4reid/CAVIARa"]
    folder = records.find(root, candidates, dataset="caviar4reid", card=CARD, tree=TREE)
    samples = [Sample(path, pid, None) for path, (pid,) in _named.parse(folder, _NAME, TREE)]
    _named.require("caviar4reid", samples, folder, TREE)
    return Dataset("caviar4reid", folder, samples, [], CARD)
