"""CUHK-SYSU: people cut out of the scenes of a person search set. A source only.

Counts: 11,934 ids, 34,574 images.
Quirks: released as whole scenes for person search; what is trained on are four sets of cut-outs that others have made, told
apart by their folder (`reid convert cuhk_sysu` makes the second):

cropped_images      p11422_s16929_1.jpg             person, scene, number
cropped_image       p00001_n01_s00001_hard0.png     person, number, scene, difficulty; the box is a pixel larger
bounding_box_train  <pid>_c<camid>....jpg           Market-1501's form
combine             00001_s00001_0000001_0.jpg      of cuhksysu4reid; its train/, query/ and gallery/ hold only parts of it

Pictures may differ between them, so the form is in the variant. A scene is no camera: every picture has camera 0, so the set
cannot be searched.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Card, Dataset, Sample

CARD = Card(
    title="CUHK-SYSU (Xiao et al.: Joint detection and identification feature learning for person search, CVPR 2017)",
    terms="given on request by its makers, under the terms they set",
    page="http://www.ee.cuhk.edu.hk/~xgwang/PS/dataset.html",
    status="on request",
)
COUNTS = {"train ids": 11_934, "train images": 34_574}
FORMS = {
    "cropped_images": re.compile(r"p(\d+)_s\d+_\d+\."),
    "cropped_image": re.compile(r"p(\d+)_n\d+_s\d+_hard\d\."),
    "bounding_box_train": re.compile(r"(\d+)_c\d+"),
    "combine": re.compile(r"(\d+)_s\d+_\d+_\d\."),
}
HOMES = ("cuhksysu", "CUHK-SYSU", "cuhk_sysu", "cuhk-sysu")
TREE = (
    "cut-out people in cuhksysu/cropped_images/ (p11422_s16929_1.jpg), cropped_image/ (p00001_n01_s00001_hard0.png), "
    "bounding_box_train/ (<pid>_c<camid>...) or cuhksysu4reid/combine/ (00001_s00001_0000001_0.jpg); `reid convert "
    "cuhk_sysu` cuts them out of the person search release"
)


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set in the first of its forms that is there; all of it is for training.

    Raises FileNotFoundError where the set is missing, ValueError where it differs from what was published.
    """
    folders = [f"cuhksysu4reid/{form}" if form == "combine" else form for form in FORMS]
    candidates = [f"{home}/{folder}" for home in HOMES for folder in folders] + ["cuhksysu4reid/combine"]
    folder = records.find(root, candidates, dataset="cuhk_sysu", card=CARD, tree=TREE)
    form = folder.name
    samples = [Sample(str(path), _pid(path, form), 0) for path in records.images(folder)]
    found = {"train ids": len({sample.pid for sample in samples}), "train images": len(samples)}
    notes = records.check_counts("cuhk_sysu", found, COUNTS, check_counts)
    return Dataset("cuhk_sysu", folder, samples, [], CARD, variant={"form": form}, notes=notes)


def _pid(path: Path, form: str) -> int:
    match = FORMS[form].match(path.name)
    if match is None:
        raise ValueError(f"{path}: found this name; expected {TREE}")
    return int(match[1])
