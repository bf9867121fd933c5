import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import clonedperson

TRAIN = [
    ("train/700000_s02_c00_f023389.jpg", 700000, 200),
    ("train/700000_s06_c00_f023413.jpg", 700000, 600),
]
QUERY = [("test/query/705624_s12_c00_f003229.jpg", 705624, 1200)]
GALLERY = [("test/gallery/705624_s12_c02_f002965.jpg", 705624, 1202)]


@pytest.mark.parametrize("place", ["clonedperson", "clonedperson/clonedperson", "ClonedPerson"])
def test_both_nestings_read_the_same(tmp_path, place):
    folder = plant(tmp_path, "clonedperson", at=place)
    loaded = clonedperson.load(tmp_path)
    (trial,) = loaded.trials
    assert rows(loaded.train, folder) == TRAIN
    assert rows(trial.query, folder) == QUERY
    assert rows(trial.gallery, folder) == GALLERY
    whole = clonedperson.load(tmp_path, all=True)
    assert rows(whole.train, folder) == TRAIN + QUERY + GALLERY
    assert whole.trials == []


def test_merged_scenes_share_their_cameras_and_say_so(tmp_path):
    plant(tmp_path, "clonedperson")
    loaded = clonedperson.load(tmp_path, merge_scenes=True)
    assert [sample.camid for sample in loaded.train] == [0, 0]
    assert loaded.variant == {"all": False, "merge_scenes": True}
    assert clonedperson.load(tmp_path).variant == {"all": False, "merge_scenes": False}


def test_part_missing_is_named(tmp_path):
    grow(tmp_path / "clonedperson", "train/700000_s02_c00_f023389.jpg", "test/query/705624_s12_c00_f003229.jpg")
    with pytest.raises(FileNotFoundError, match="gallery: found no such folder"):
        clonedperson.load(tmp_path)
