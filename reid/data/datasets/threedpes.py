"""3DPeS: people on a campus seen by fixed cameras on several days; here a source only.

Counts: none are checked; this toolkit has no source for them.
Quirks: two forms on disk, `<person>/*.bmp` and flat `RGB/<person>_..._FRAME_<n>_RGB.bmp`. Neither says which camera.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.datasets import _named
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="3DPeS (Baltieri, Vezzani, Cucchiara: 3D People Dataset for Surveillance and Forensics, 2011)",
    terms="not known to this toolkit; see the page",
    page="http://www.openvisor.org/3dpes.asp",
)
TREE = "3DPeS/<person>/*.bmp, or 3DPeS/RGB/<person>_..._FRAME_<n>_RGB.bmp"
_FLAT = re.compile(r"(\d+)_\w+_FRAME_\d+")


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set: every picture is for training.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where the set is missing or empty, ValueError for a name of another form.
    """
    candidates = ["3DPeS", "threedpes/3DPeS", "3dpes/3DPeS", "3dpes", "threedpes"]
    folder = records.find(root, candidates, dataset="threedpes", card=CARD, tree=TREE)
    flat = folder / "RGB"
    if flat.is_dir():
        samples = [Sample(path, pid, None) for path, (pid,) in _named.parse(flat, _FLAT, TREE)]
    else:
        people = [(_named.number(person), person) for person in records.folders(folder)]
        samples = [Sample(str(path), pid, None) for pid, person in people for path in records.images(person)]
    _named.require("threedpes", samples, folder, TREE)
    return Dataset("threedpes", folder, samples, [], CARD)
