from __future__ import annotations

import shutil

import pytest
from person_trees import counts, plant, rows, tiny_cuhk02

from reid.data.datasets import cuhk02


@pytest.mark.parametrize("home", ["cuhk02/Dataset", "cuhk02", "CUHK02"])
def test_cuhk02_numbers_its_people_and_cameras_by_pair(tmp_path, home):
    root = tiny_cuhk02(tmp_path / home)
    loaded = cuhk02.load(tmp_path, check_counts=False)
    assert rows(loaded.train, root) == [
        (f"P{pair}/cam{camera}/001_00{number}.png", 10_000 * pair + 1, 2 * pair - 2 + camera)
        for pair in (1, 2, 3, 4)
        for camera in (1, 2)
        for number in (1, 2)
    ]
    (trial,) = loaded.trials
    assert rows(trial.query, root) == [
        ("P5/cam1/001_001.png", 50_001, 9),
        ("P5/cam1/001_002.png", 50_001, 9),
        ("P5/cam1/002_001.png", 50_002, 9),
        ("P5/cam1/002_002.png", 50_002, 9),
    ]
    assert [sample[1:] for sample in trial.gallery] == [(50_001, 10), (50_001, 10), (50_002, 10), (50_002, 10)]
    assert loaded.variant == {"all": False}
    everybody = cuhk02.load(tmp_path, check_counts=False, all=True)
    assert counts(everybody.train) == (6, 24)
    assert everybody.trials == []
    assert everybody.variant == {"all": True}


def test_cuhk02_names_what_is_broken(tmp_path):
    root = tiny_cuhk02(tmp_path / "cuhk02")
    plant(root, ["P2/cam1/person.png"])
    with pytest.raises(ValueError, match=r"person\.png: found this name"):
        cuhk02.load(tmp_path, check_counts=False)
    shutil.rmtree(root / "P2" / "cam1")
    with pytest.raises(FileNotFoundError, match="cam1: found no such folder"):
        cuhk02.load(tmp_path, check_counts=False)


def test_cuhk02_at_full_size_has_the_published_counts(tmp_path):
    names = [
        f"{pair}/cam{camera}/{person:03d}_{number:03d}.png"
        for pair, ids in {"P1": 971, "P2": 306, "P3": 107, "P4": 193, "P5": 239}.items()
        for camera in (1, 2)
        for person in range(1, ids + 1)
        for number in (1, 2)
    ]
    root = plant(tmp_path / "cuhk02" / "Dataset", names)
    assert repr(cuhk02.load(tmp_path)) == "<cuhk02 train 1,577 ids 6,308 imgs 8 cams, 478 queries in 478>"
    assert repr(cuhk02.load(tmp_path, all=True)) == "<cuhk02 train 1,816 ids 7,264 imgs 10 cams>"
    (root / "P3" / "cam2" / "012_001.png").unlink()
    with pytest.raises(ValueError, match="cuhk02: found 427 P3 images, expected 428"):
        cuhk02.load(tmp_path)
