import pytest
from small import check_apart, plant, rows, sizes
from trees import grow

from reid.data.datasets import prid

SMALL = [
    *(("cam_a/person_0001.png", 1, 1), ("cam_a/person_0002.png", 2, 1), ("cam_a/person_0201.png", 1201, 1)),
    *(("cam_b/person_0001.png", 1, 2), ("cam_b/person_0002.png", 2, 2), ("cam_b/person_0201.png", 201, 2)),
]


@pytest.fixture
def full(tmp_path):
    folder = tmp_path / "prid2011" / "prid_2011" / "single_shot"
    grow(folder, *(f"cam_a/person_{n:04d}.png" for n in range(1, 386)))
    grow(folder, *(f"cam_b/person_{n:04d}.png" for n in range(1, 750)))
    return tmp_path


@pytest.mark.parametrize("place", ["prid_2011", "prid2011/prid_2011", "prid2011", "prid"])
def test_both_nestings_read_the_same_and_201_is_two_people(tmp_path, place):
    folder = plant(tmp_path, "prid", at=f"{place}/single_shot")
    assert rows(prid.load(tmp_path, check_counts=False, all=True).train, folder) == SMALL


def test_full_size_is_ten_searches_of_100_in_649(full):
    loaded = prid.load(full)
    assert loaded.notes == ()
    assert loaded.train == []
    assert len(loaded.trials) == 10
    assert sizes(loaded.trials) == {(100, 649)}
    for trial in loaded.trials:
        check_apart(trial)
        assert {sample.camid for sample in trial.query} == {1}
        assert {sample.camid for sample in trial.gallery} == {2}
        assert max(sample.pid for sample in trial.query) <= 200
        assert {sample.pid for sample in trial.gallery} >= set(range(201, 750))


def test_all_trains_on_934_people(full):
    loaded = prid.load(full, all=True)
    assert repr(loaded) == "<prid train 934 ids 1,134 imgs 2 cams>"
    assert loaded.variant == {"all": True}


def test_one_picture_missing_is_said_with_both_numbers(full):
    (full / "prid2011" / "prid_2011" / "single_shot" / "cam_a" / "person_0007.png").unlink()
    line = "prid: found 384 cam_a images, expected 385; found 199 people seen by both, expected 200"
    with pytest.raises(ValueError, match=line):
        prid.load(full)
    assert prid.load(full, check_counts=False).notes == (line,)
