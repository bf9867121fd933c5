import pytest
from small import plant, rows, sizes
from trees import grow

from reid.data import records
from reid.data.datasets import personx

TRAIN = [("bounding_box_train/0001_c12s1_1.jpg", 1, 6), ("bounding_box_train/0001_c3s1_36.jpg", 1, 1)]
QUERY = [("query/0002_c4s1_1.jpg", 2, 2)]
GALLERY = [("bounding_box_test/0002_c10s1_7.jpg", 2, 4)]


@pytest.mark.parametrize("place", ["personx/subset1", "PersonX/subset1", "personx", "PersonX", "personX"])
def test_both_nestings_read_the_same_and_cameras_are_1_to_6(tmp_path, place):
    folder = plant(tmp_path, "personx", at=place)
    loaded = personx.load(tmp_path, check_counts=False)
    (trial,) = loaded.trials
    assert rows(loaded.train, folder) == TRAIN
    assert rows(trial.query, folder) == QUERY
    assert rows(trial.gallery, folder) == GALLERY
    whole = personx.load(tmp_path, check_counts=False, all=True)
    assert rows(whole.train, folder) == TRAIN + QUERY + GALLERY
    assert whole.trials == []
    assert (loaded.variant, whole.variant) == ({"all": False}, {"all": True})


def test_camera_that_the_set_does_not_have_is_named(tmp_path):
    grow(plant(tmp_path, "personx"), "query/0003_c5s1_1.jpg")
    with pytest.raises(ValueError, match=r"0003_c5s1_1\.jpg: found camera 5; expected one of 3, 4, 8, 10, 11, 12"):
        personx.load(tmp_path, check_counts=False)


@pytest.mark.slow  # 45,792 links
def test_full_size_has_the_published_counts_and_one_less_is_said(tmp_path):
    cameras = [3, 4, 8, 10, 11, 12]
    for part, first, number in (
        ("bounding_box_train", 1, 9_840),
        ("query", 411, 5_136),
        ("bounding_box_test", 411, 30_816),
    ):
        names = (f"{first + i // 36:04d}_c{cameras[i % 6]}s1_{i:05d}.jpg" for i in range(number))
        grow(tmp_path / "personx" / part, *names)
    loaded = personx.load(tmp_path)
    assert loaded.notes == ()
    assert len(loaded.train) == 9_840
    assert sizes(loaded.trials) == {(5_136, 30_816)}
    assert {sample.camid for sample in loaded.train} == {1, 2, 3, 4, 5, 6}
    records.images(tmp_path / "personx" / "query")[0].unlink()
    with pytest.raises(ValueError, match="personx: found 5,135 query images, expected 5,136"):
        personx.load(tmp_path)
