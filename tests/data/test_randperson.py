import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import randperson

SMALL = [("000000_s00_c01_f000264.jpg", 1, 1), ("000007_s10_c03_f001032.jpg", 8, 18)]
FORMS = ["randperson_subset", "randperson_subset/randperson_subset", "randperson/randperson_subset"]


@pytest.mark.parametrize("place", [*FORMS, "RandPerson/randperson_subset/randperson_subset"])
def test_every_nesting_reads_the_same_and_person_0_is_somebody(tmp_path, place):
    folder = plant(tmp_path, "randperson", at=place)
    loaded = randperson.load(tmp_path)
    assert rows(loaded.train, folder) == SMALL
    assert loaded.trials == []


def test_cameras_of_the_eleven_scenes_are_all_different(tmp_path):
    cameras = [2, 2, 2, 2, 1, 1, 2, 1, 1, 1, 4]
    in_scenes = [(scene, camera) for scene, number in enumerate(cameras) for camera in range(number)]
    grow(tmp_path / "randperson_subset", *(f"000001_s{s:02d}_c{c:02d}_f000001.jpg" for s, c in in_scenes))
    assert [sample.camid for sample in randperson.load(tmp_path).train] == list(range(19))


def test_older_names_with_the_camera_first_read_the_same(tmp_path):
    folder = grow(tmp_path / "randperson_subset", "000000_c01_s00_f000264.jpg", "000007_c03_s10_f001032.jpg")
    found = [(pid, camid) for _, pid, camid in rows(randperson.load(tmp_path).train, folder)]
    assert found == [(pid, camid) for _, pid, camid in SMALL]


@pytest.mark.parametrize("name", ["000001_s11_c00_f000001.jpg", "000001_s01_f000001.jpg", "x00001_s01_c00_f000001.jpg"])
def test_scene_that_does_not_exist_or_a_missing_part_is_named(tmp_path, name):
    grow(tmp_path / "randperson_subset", name)
    with pytest.raises(ValueError, match=f"{name}: found this name; expected randperson_subset"):
        randperson.load(tmp_path)
