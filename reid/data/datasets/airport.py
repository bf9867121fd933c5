r"""Airport (ALERT): six cameras of an airport, pictures cut out by a detector; here a source only.

Counts: none are checked; this toolkit has no source for them.
Quirks: the pictures are those that `filepath.txt` names, a line each, `<camera>\<person>\<file>` in Windows' way. Only
the person numbers 11001 to 401999 are kept, as FastReID keeps them; lines of others are passed over.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="Airport (Karanam et al.: A Systematic Evaluation and Benchmark for Person Re-Identification, TPAMI 2018)",
    terms="not known to this toolkit; see the page",
    page="http://www.northeastern.edu/alert/transitioning-technology/alert-datasets/"
    "alert-airport-re-identification-dataset/",
    status="not known; see the page",
)
FIRST, LAST = 11_001, 401_999
TREE = r"AirportALERT/filepath.txt with a line <camera>\<person>\<file> for each picture, and the pictures"
_LINE = re.compile(r"[^\d\\/]*(\d+)[\\/](\d+)[\\/][^\\/]+")


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set: every picture in the list is for training.

    check_counts: taken because every set takes it; none are known.
    Raises FileNotFoundError where the set is missing or empty, ValueError for a line of another form.
    """
    candidates = ["AirportALERT", "airport/AirportALERT", "airport"]
    folder = records.find(root, candidates, dataset="airport", card=CARD, tree=TREE)
    file = folder / "filepath.txt"
    if not file.is_file():
        raise FileNotFoundError(f"airport: found no {file}; expected {TREE}")
    samples = []
    for number, line in enumerate(map(str.strip, file.read_text(encoding="utf-8-sig").splitlines()), start=1):
        match = _LINE.fullmatch(line)
        if match is None and line:
            raise ValueError(rf"{file}, line {number}: found {line!r}; expected <camera>\<person>\<file>")
        if match and FIRST <= int(match[2]) <= LAST:
            samples.append(Sample(str(records.below(folder, line)), int(match[2]), int(match[1])))
    if not samples:
        raise FileNotFoundError(f"airport: found no person {FIRST} to {LAST} in {file}; expected {TREE}")
    return Dataset("airport", folder, sorted(samples), [], CARD)
