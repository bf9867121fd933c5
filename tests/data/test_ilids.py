import random
from pathlib import Path

import pytest
from small import check_apart, names, plant, rows, sizes
from trees import grow

from reid.data.datasets import _splits, ilids

SMALL = [(f"{pid:04d}{picture:03d}.jpg", pid, None) for pid in range(1, 6) for picture in range(1, 4)]


def pictures() -> list[str]:
    """119 people and 476 pictures, two to seven each; numbered with gaps."""
    rng = random.Random(5)
    number = dict.fromkeys(range(1, 120), 2)
    for _ in range(476 - 2 * 119):
        number[rng.choice([pid for pid in number if number[pid] < 7])] += 1
    return [f"{pid:04d}{picture:03d}.jpg" for pid in number for picture in range(1, 1 + 2 * number[pid], 2)]


@pytest.fixture
def full(tmp_path):
    grow(tmp_path / "i-LIDS_Pedestrian" / "Persons", *pictures())
    return tmp_path


@pytest.mark.parametrize(
    "place", ["ilids/i-LIDS_Pedestrian/Persons", "i-LIDS_Pedestrian/Persons", "QMUL-iLIDS/images", "ilids/Persons"]
)
def test_every_form_reads_the_same_and_the_last_digits_are_no_camera(tmp_path, place):
    folder = plant(tmp_path, "ilids", at=place)
    assert rows(ilids.load(tmp_path, check_counts=False, all=True).train, folder) == SMALL


def test_full_size_is_ten_searches_of_60_in_60(full):
    loaded = ilids.load(full)
    assert loaded.notes == ()
    assert loaded.train == []
    assert len(loaded.trials) == 10
    assert sizes(loaded.trials) == {(60, 60)}
    for trial in loaded.trials:
        check_apart(trial)
        assert {sample.camid for sample in (*trial.query, *trial.gallery)} == {None}
        assert [sample.pid for sample in trial.query] == [sample.pid for sample in trial.gallery]


def test_drawn_numbers_count_through_the_sorted_pictures(monkeypatch, tmp_path):
    plant(tmp_path, "ilids")
    rows_ = [[0, 0.0, 0.0], [1, 0.34, 0.0], [2, 0.9999, 0.5], [4, 0.3, 0.9999]]
    monkeypatch.setattr(_splits, "read", lambda name: ([rows_], "0"))
    (trial,) = ilids.load(tmp_path, check_counts=False).trials
    assert names(trial.query) == ["0001001.jpg", "0002002.jpg", "0003003.jpg", "0005001.jpg"]
    assert names(trial.gallery) == ["0001002.jpg", "0002001.jpg", "0003002.jpg", "0005003.jpg"]


def test_every_picture_can_be_drawn_as_either(full):
    trials = ilids.load(full).trials
    for side in ("query", "gallery"):
        numbers = {int(Path(sample.path).name[4:7]) for trial in trials for sample in getattr(trial, side)}
        assert numbers == {1, 3, 5, 7, 9, 11, 13}


def test_all_trains_on_everybody(full):
    loaded = ilids.load(full, all=True)
    assert repr(loaded) == "<ilids train 119 ids 476 imgs no cams>"
    assert loaded.variant == {"all": True}


def test_person_with_one_picture_is_said_and_cannot_be_searched_for(full):
    folder = full / "i-LIDS_Pedestrian" / "Persons"
    pid = next(pid for pid in range(1, 120) if len(list(folder.glob(f"{pid:04d}*"))) == 2)
    (folder / f"{pid:04d}001.jpg").unlink()
    line = "ilids: found 475 images, expected 476; found 1 people with one image, expected 0"
    with pytest.raises(ValueError, match=line):
        ilids.load(full)
    loaded = ilids.load(full, check_counts=False)
    assert loaded.notes == (line,)
    assert sizes(loaded.trials) == {(60, 60), (59, 59)}
    for trial in loaded.trials:
        check_apart(trial)
