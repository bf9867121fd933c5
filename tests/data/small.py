"""Small fake trees of the smaller sets, one form each, and what their tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import io
from trees import grow

from reid.data.records import Dataset, Sample, Trial

TREES = {
    "viper": ("viper/VIPeR", ["cam_a/000_45.bmp", "cam_a/002_0.bmp", "cam_b/000_90.bmp", "cam_b/002_180.bmp"]),
    "prid": (
        "prid_2011/single_shot",
        [*(f"cam_a/person_{n:04d}.png" for n in (1, 2, 201)), *(f"cam_b/person_{n:04d}.png" for n in (1, 2, 201))],
    ),
    "grid": (
        "grid/underground_reid",
        [
            *("probe/0001_1_25004_89.jpeg", "probe/0250_5_1_2.jpeg"),
            *("gallery/0000_8_3_4.jpeg", "gallery/0001_2_25100_90.jpeg", "gallery/0250_6_5_6.jpeg"),
        ],
    ),
    "ilids": (
        "ilids/i-LIDS_Pedestrian/Persons",
        [f"{person:04d}{picture:03d}.jpg" for person in range(1, 6) for picture in range(1, 4)],
    ),
    "sensereid": (
        "sensereid/SenseReID",
        ["test_probe/0000_0.jpg", "test_probe/0003_0.jpg", "test_gallery/0000_1.jpg", "test_gallery/0009_1.jpg"],
    ),
    "caviar4reid": ("CAVIARa", ["0001001.jpg", "0001002.jpg", "0072005.jpg"]),
    "threedpes": ("3DPeS", ["1/1_2_FRAME_34_RGB.bmp", "12/12_3_FRAME_4_RGB.bmp"]),
    "airport": ("AirportALERT", ["1/11001/a.jpg", "6/401999/b.jpg"]),
    "lpw": (
        "pep_256x128",
        ["scen1/view1/7/00001.jpg", "scen1/view2/7/00001.jpg", "scen2/view1/7/00001.jpg", "scen3/view4/12/00003.jpg"],
    ),
    "randperson": ("randperson_subset", ["000000_s00_c01_f000264.jpg", "000007_s10_c03_f001032.jpg"]),
    "clonedperson": (
        "clonedperson",
        [
            *("train/700000_s02_c00_f023389.jpg", "train/700000_s06_c00_f023413.jpg"),
            *("test/query/705624_s12_c00_f003229.jpg", "test/gallery/705624_s12_c02_f002965.jpg"),
        ],
    ),
    "personx": (
        "personx/subset1",
        [
            *("bounding_box_train/0001_c3s1_36.jpg", "bounding_box_train/0001_c12s1_1.jpg"),
            *("query/0002_c4s1_1.jpg", "bounding_box_test/0002_c10s1_7.jpg"),
        ],
    ),
    "occluded_reid": (
        "Occluded_REID",
        ["occluded_body_images/001/001_01.tif", "whole_body_images/001/001_01.tif", "whole_body_images/200/200_05.tif"],
    ),
}


def plant(root: Path, name: str, at: str = "", upper: bool = False) -> Path:
    """The small tree of a set below `root`, in its own place or `at`; returns the set's folder."""
    place, names = TREES[name]
    folder = root / (at or place)
    names = [f"{n.rpartition('.')[0]}.{n.rpartition('.')[2].upper()}" for n in names] if upper else names
    grow(folder, *names)
    if name == "grid":
        partitions(folder)
    if name == "airport":
        lines = [*names, names[0].replace("11001", "11000")]
        (folder / "filepath.txt").write_text("".join(n.replace("/", "\\") + "\n" for n in lines))
    return folder


def partitions(folder: Path, count: int = 10, size: int = 125) -> None:
    """features_and_partitions.mat as GRID ships it; partition i trains on people i + 1 to i + 125."""
    cells = np.empty((1, count), object)
    for i in range(count):
        struct = np.empty((1, 1), [("a", object), ("b", object), ("trainIdx", object)])
        struct[0, 0] = (np.zeros((1, 1)), np.zeros((1, 1)), np.arange(i + 1, i + 1 + size, dtype=np.uint16)[None])
        cells[0, i] = struct
    io.savemat(str(folder / "features_and_partitions.mat"), {"trainIdxAll": cells, "features": np.zeros((2, 2))})


def rows(samples: Sequence[Sample], folder: Path) -> list[tuple[str, int, int | None]]:
    """(path below the set's folder, pid, camid) of each, in order."""
    return [(Path(sample.path).relative_to(folder).as_posix(), sample.pid, sample.camid) for sample in samples]


def names(samples: Sequence[Sample]) -> list[str]:
    return [Path(sample.path).name for sample in samples]


def everything(dataset: Dataset) -> list[Sample]:
    """Every picture of a set, as often as it is used."""
    trials = [sample for trial in dataset.trials for sample in (*trial.query, *(trial.gallery or ()))]
    return [*dataset.train, *trials]


def sizes(trials: Sequence[Trial]) -> set[tuple[int, int]]:
    return {(len(trial.query), len(trial.gallery or ())) for trial in trials}


def check_apart(trial: Trial) -> None:
    """No picture is on both sides, and every query has exactly one mate, which is not junk."""
    assert trial.gallery is not None
    assert not {sample.path for sample in trial.query} & {sample.path for sample in trial.gallery}
    for query in trial.query:
        mates = [sample for sample in trial.gallery if sample.pid == query.pid]
        assert len(mates) == 1
        assert query.camid is None or query.camid != mates[0].camid
