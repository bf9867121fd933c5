"""Market-1501: six cameras before a supermarket, 1,501 people; pictures cut out by a detector.

Counts: train 751 ids 12,936 images; query 750 ids 3,368 images; gallery 19,732 files, of which 15,913 are loaded.
Quirks: 3,819 gallery files have pid -1 (junk, never loaded); 2,798 have pid 0 (distractors: searched, never a match,
never trained on). Some leave the 2,798 out of the gallery, some add 500,000 more; some train on them as one person, which
nobody here does. DISTRACTORS says which. MULTI_QUERY: gt_bbox/ holds further pictures of the people, drawn by hand.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _market
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Market-1501 (Zheng et al., ICCV 2015)",
    terms="research only, with citation; no licence text is given, so no redistribution",
    page="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
)
COUNTS = {
    "train ids": 751,
    "train images": 12_936,
    "query ids": 750,
    "query images": 3_368,
    "gallery images": 15_913,
    "gallery files": 19_732,
}
COUNTS_ALL = {"train ids": 1_501, "train images": 29_419}
COUNTS_500K = {"distractors in images/": 500_000}
DISTRACTORS = ("published", "none", "500k")


def load(
    root: str | Path,
    *,
    check_counts: bool = True,
    all: bool = False,
    distractors: str = "published",
    multi_query: bool = False,
) -> Dataset:
    """Reads the set.

    Args:
        all: every person of train, query and gallery is trained on and nothing is left to score.
        multi_query: score also with the mean of all of gt_bbox/ of a query's person by its camera in place of the query.
        distractors: in the gallery: published (the 2,798 of pid 0), none, or 500k (those and the folder images/).
    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    if distractors not in DISTRACTORS:
        raise ValueError(f"market1501: found DISTRACTORS {distractors!r}; expected {', '.join(DISTRACTORS)}")
    folder = records.find(
        root,
        ["Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15", "market1501", "Market-1501"],
        dataset="market1501",
        card=CARD,
        tree=_market.TREE,
    )
    train, query, gallery = _market.split(folder)
    found = _market.count(train, query, gallery) | {"gallery files": len(records.images(folder / _market.PARTS[2]))}
    notes = records.check_counts("market1501", found, COUNTS, check_counts)
    if all:
        train = train + query + _market.people(gallery)
        found = {"train ids": len({sample.pid for sample in train}), "train images": len(train)}
        notes += records.check_counts("market1501, all people", found, COUNTS_ALL, check_counts)
        return Dataset("market1501", folder, train, [], CARD, variant={"all": True}, notes=notes)
    if distractors == "none":
        gallery = _market.people(gallery)
    if distractors == "500k":
        more = _distractors(folder / "images")
        notes += records.check_counts("market1501", {"distractors in images/": len(more)}, COUNTS_500K, check_counts)
        gallery = gallery + more
    variant = {"all": False, "distractors": distractors, **({"multi_query": True} if multi_query else {})}
    trial = Trial(query, gallery, _groups(query, folder / "gt_bbox") if multi_query else ())
    return Dataset("market1501", folder, train, [trial], CARD, variant=variant, notes=notes)


def _groups(query: list[Sample], folder: Path) -> list[list[Sample]]:
    """Of each query itself and the pictures of its person by its camera in gt_bbox/, where the query's own stands again."""
    more: dict[tuple[int, int | None], list[Sample]] = {}
    for sample in _market.read(folder):
        more.setdefault((sample.pid, sample.camid), []).append(sample)
    names = {sample.path: Path(sample.path).name for samples in more.values() for sample in samples}
    return [
        [own, *(s for s in more.get((own.pid, own.camid), []) if names[s.path] != Path(own.path).name)] for own in query
    ]


def _distractors(folder: Path) -> list[Sample]:
    """The pictures of the folder that the 500,000 come in; whoever has a pid there would be a wrong match."""
    samples = _market.read(folder)
    people = _market.people(samples)
    if people:
        raise ValueError(
            f"{people[0].path}: found the person {people[0].pid}; expected pid 0 throughout {folder}, which holds distractors"
        )
    return samples
