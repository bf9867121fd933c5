"""Cars196 (Stanford Cars): photos of cars, 196 models; trained on the first half of the models, scored on the other.

Counts: 16,185 images; classes 1 to 98 are trained on (8,054 images), 99 to 196 are scored (8,131 images), each picture
searching the rest.
Quirks: its own train and test halves split pictures and not classes; they are joined. Two forms circulate, with the same
pictures under other names, so the form is in the variant:

mat      car_ims/000001.jpg with cars_annos.mat, as its makers released it
csv      car_data/car_data/{train,test}/<model>/00001.jpg with anno_train.csv and anno_test.csv, repacked; numbers begin
         anew in either half. The class is that of the list, whatever the folder is called.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="Cars196 (Krause, Stark, Deng, Fei-Fei: 3D object representations for fine-grained categorization, 3dRR 2013)",
    terms="not known to this toolkit; see the page",
    page="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
)
COUNTS = {
    "train classes": 98,
    "train images": 8_054,
    "test classes": 98,
    "test images": 8_131,
}
KS = (1, 2, 4, 8)
LAST_TRAIN_CLASS = 98
FORMS = {"mat": "cars_annos.mat", "csv": "anno_train.csv"}  # a form is known by this file
TREE = (
    "cars_annos.mat with car_ims/000001.jpg; or anno_train.csv and anno_test.csv with "
    "car_data/car_data/train/<model>/00001.jpg and car_data/car_data/test/"
)


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set in the first of its forms that is there; each test picture searches the other test pictures.

    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where a list is of another form
    or the set differs from what was published.
    """
    candidates = [
        f"{home}/{file}" for home in ("cars196", "CARS196", "cars", "stanford_cars") for file in FORMS.values()
    ]
    file = records.find(root, candidates, dataset="cars196", card=CARD, tree=TREE)
    if file.name == FORMS["mat"]:
        form, everything = "mat", _lists.samples(file, file.parent, _annotated(file))
    else:
        form, everything = "csv", sorted(_half(file.parent, "train") + _half(file.parent, "test"))
    train = [sample for sample in everything if sample.pid <= LAST_TRAIN_CLASS]
    test = [sample for sample in everything if sample.pid > LAST_TRAIN_CLASS]
    notes = records.check_counts("cars196", _lists.count(train, test), COUNTS, check_counts) + _lists.lonely(
        "cars196", test
    )
    return Dataset(
        "cars196",
        file.parent,
        train,
        [Trial(test)],
        CARD,
        metric="retrieval",
        ks=KS,
        variant={"form": form},
        notes=notes,
    )


def _annotated(file: Path) -> list[tuple[str, int]]:
    """(path, class) of each picture that the release annotates."""
    import scipy.io  # takes 0.2 s, for this form only

    try:
        table = scipy.io.loadmat(file, squeeze_me=True)["annotations"]
        # A record is path, four sides of a box, class, and whether it is a test picture of the set's own split.
        return [(str(record[0]), int(record[5])) for record in table]
    except Exception as error:  # a damaged file makes scipy raise anything from TypeError to zlib.error
        raise ValueError(f"{file}: found no annotations that can be read ({error!r}); get the file again") from error


def _half(folder: Path, half: str) -> list[Sample]:
    """The pictures of one half of the repacked form."""
    file = folder / f"anno_{half}.csv"
    rows = _lists.rows(file, r"([^,/\\]+),\d+,\d+,\d+,\d+,(\d+)", "<name>,<x1>,<y1>,<x2>,<y2>,<class>")
    place = folder / "car_data"
    place = (place / "car_data" if (place / "car_data").is_dir() else place) / half
    found = {
        path.name: f"{model.name}/{path.name}" for model in records.folders(place) for path in records.images(model)
    }
    return _lists.samples(file, place, ((found.get(name, name), int(number)) for name, number in rows))
