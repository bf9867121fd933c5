"""In-Shop Clothes Retrieval (DeepFashion): garments photographed for a shop, a few views of each.

Counts: train 3,997 classes 25,882 images; test 3,985 classes, 14,218 queries in a gallery of 12,612 images.
Quirks: there are no cameras, so nothing is junk: another view of the garment counts, whatever the picture. The folder img/
lies beside Eval/ or in Img/; pictures are the same, so results are compared whichever it is. Other toolkits crop the
pictures by the boxes of list_bbox_inshop.txt, or read the larger ones of img_highres/; neither is done here.
"""

from __future__ import annotations

from pathlib import Path

from reid.data import records
from reid.data.datasets import _lists
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="DeepFashion, In-shop Clothes Retrieval (Liu, Luo, Qiu, Wang, Tang, CVPR 2016)",
    terms="given by agreement with its makers, under the terms they set",
    page="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
    status="on request",
)
COUNTS = {
    "train classes": 3_997,
    "train images": 25_882,
    "query classes": 3_985,
    "query images": 14_218,
    "gallery classes": 3_985,
    "gallery images": 12_612,
}
KS = (1, 10, 20, 30, 40, 50)
LIST = "list_eval_partition.txt"
TREE = f"Eval/{LIST} (or the list directly in the folder), and img/MEN/, img/WOMEN/ there or in Img/"
HEADER = (r"\d+", r"image_name\s+item_id\s+evaluation_status")


def load(root: str | Path, *, check_counts: bool = True) -> Dataset:
    """Reads the set; queries are searched for in the gallery, and nothing is junk.

    Raises FileNotFoundError where the set, the list or a listed picture is missing; ValueError where the list is of another
    form, a class is trained on and scored, or the set differs from what was published.
    """
    homes = (
        "inshop",
        "Inshop_Clothes",
        "In-shop Clothes Retrieval Benchmark",
        "inshop/In-shop Clothes Retrieval Benchmark",
    )
    candidates = [f"{home}/{file}" for home in homes for file in (f"Eval/{LIST}", LIST)]
    file = records.find(root, candidates, dataset="inshop", card=CARD, tree=TREE)
    folder = file.parent.parent if file.parent.name == "Eval" else file.parent
    if not (folder / "img").is_dir():
        folder /= "Img"
    form, expected = r"(\S+)\s+id_(\d+)\s+(train|query|gallery)", "<path> id_<item> train, query or gallery"
    rows = _lists.rows(file, form, expected, header=HEADER)
    everything = _lists.pictures(file, folder, [path for path, _, _ in rows])
    parts: dict[str, list[Sample]] = {"train": [], "query": [], "gallery": []}
    for path, (_, item, part) in zip(everything, rows, strict=True):
        parts[part].append(Sample(path, int(item), None))
    train, query, gallery = (sorted(part) for part in parts.values())
    _lists.apart("inshop", train, query + gallery)
    found: dict[str, int] = {}
    for part, samples in (("train", train), ("query", query), ("gallery", gallery)):
        found |= {f"{part} classes": len({sample.pid for sample in samples}), f"{part} images": len(samples)}
    notes = records.check_counts("inshop", found, COUNTS, check_counts) + _lists.lonely("inshop", query + gallery)
    return Dataset("inshop", folder, train, [Trial(query, gallery)], CARD, metric="retrieval", ks=KS, notes=notes)
