from __future__ import annotations

import pytest
from person_trees import counts, plant, rows

from reid.data import records
from reid.data.datasets import cuhk01


@pytest.mark.parametrize("home", ["cuhk01/campus", "CUHK01/campus", "campus"])
def test_cuhk01_searches_each_view_with_the_other(tmp_path, home):
    root = plant(tmp_path / home, [f"{person}00{number}.png" for person in ("0001", "0970") for number in (1, 2, 3, 4)])
    plant(root, ["._0001001.png", "0971003.PNG"])
    loaded = cuhk01.load(tmp_path, check_counts=False)
    assert rows(loaded.train, root) == [
        ("0001001.png", 1, 1),
        ("0001002.png", 1, 1),
        ("0001003.png", 1, 2),
        ("0001004.png", 1, 2),
        ("0970001.png", 970, 1),
        ("0970002.png", 970, 1),
        ("0970003.png", 970, 2),
        ("0970004.png", 970, 2),
        ("0971003.PNG", 971, 2),
    ]
    one, two = loaded.trials
    assert (one.query, one.gallery) == (two.gallery, two.query)
    assert [(sample.pid, sample.camid) for sample in one.query] == [(1, 1), (1, 1), (970, 1), (970, 1)]
    assert {sample.camid for sample in one.gallery} == {2}
    assert loaded.notes == ("cuhk01: found 3 ids, expected 971; found 9 images, expected 3,884",)


@pytest.mark.parametrize("name", ["0001005.png", "001_1.png", "0001.png"])
def test_cuhk01_names_a_picture_of_another_form(tmp_path, name):
    plant(tmp_path / "campus", ["0001001.png", name])
    with pytest.raises(ValueError, match=f"{name}: found this name"):
        cuhk01.load(tmp_path, check_counts=False)


def test_cuhk01_at_full_size_has_the_published_counts(tmp_path):
    names = [f"{person:04d}00{number}.png" for person in range(1, 972) for number in (1, 2, 3, 4)]
    root = plant(tmp_path / "cuhk01" / "campus", names)
    loaded = cuhk01.load(tmp_path)
    assert counts(loaded.train) == (971, 3_884)
    assert [len(trial.query) for trial in loaded.trials] == [1_942, 1_942]
    assert loaded.notes == ()
    records.images(root)[9].unlink()
    with pytest.raises(ValueError, match="cuhk01: found 3,883 images, expected 3,884"):
        cuhk01.load(tmp_path)
