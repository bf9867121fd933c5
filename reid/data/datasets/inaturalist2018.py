"""iNaturalist 2018, as a retrieval set: photos of living things; trained on some species, scored on others.

Counts: train 5,690 classes 325,846 images; test 2,452 classes 136,093 images, each picture searching the rest.
Quirks: the split is that of Brown et al. (Smooth-AP, ECCV 2020), in two lists of paths that are not part of the set; the
set's own halves share their species. A species is the folder that a picture is in: train_val2018/Plantae/7477/....jpg.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="iNaturalist 2018 (Van Horn et al.: The iNaturalist species classification and detection dataset, CVPR 2018)",
    terms="not known to this toolkit; see the page",
    page="https://github.com/visipedia/inat_comp/tree/master/2018",
)
COUNTS = {
    "train classes": 5_690,
    "train images": 325_846,
    "test classes": 2_452,
    "test images": 136_093,
}
KS = (1, 4, 16, 32)
TREE = (
    "train_val2018/, and Inaturalist_train_set1.txt and Inaturalist_test_set1.txt directly in the folder or in "
    "Inat_dataset_splits/"
)


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; each test picture searches the other test pictures.

    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where a list is of another
    form, a class is in both, or the set differs from what was published.
    """
    candidates = ["inaturalist2018", "iNaturalist2018", "Inaturalist", "inaturalist"]
    folder = records.find(root, candidates, dataset="inaturalist2018", card=CARD, tree=TREE)
    lists = folder / "Inat_dataset_splits"
    train, test = (_half(folder, lists if lists.is_dir() else folder, half) for half in ("train", "test"))
    _lists.apart("inaturalist2018", train, test)
    notes = records.check_counts("inaturalist2018", _lists.count(train, test), COUNTS, check_counts) + _lists.lonely(
        "inaturalist2018", test
    )
    return Dataset("inaturalist2018", folder, train, [Trial(test)], CARD, metric="retrieval", ks=KS, notes=notes)


def _half(folder: Path, lists: Path, half: str) -> list[Sample]:
    file = lists / f"Inaturalist_{half}_set1.txt"
    rows = _lists.rows(file, r"(\S+/(\d+)/[^/\s]+)", "train_val2018/<kind>/<species>/<picture>")
    return _lists.samples(file, folder, ((path, int(species)) for path, species in rows))
