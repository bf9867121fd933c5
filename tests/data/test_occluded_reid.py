import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import occluded_reid

QUERY = [("occluded_body_images/001/001_01.tif", 1, None)]
GALLERY = [("whole_body_images/001/001_01.tif", 1, None), ("whole_body_images/200/200_05.tif", 200, None)]


@pytest.mark.parametrize(
    "place",
    [
        "Occluded_REID",
        "occluded_reid/Occluded_REID",
        "ICME2018_Occluded-Person-Reidentification_datasets/Occluded_REID",
        "OccludedREID",
        "occluded_reid",
    ],
)
def test_every_nesting_reads_the_same(tmp_path, place):
    folder = plant(tmp_path, "occluded_reid", at=place)
    loaded = occluded_reid.load(tmp_path)
    (trial,) = loaded.trials
    assert loaded.train == []
    assert rows(trial.query, folder) == QUERY
    assert rows(trial.gallery, folder) == GALLERY
    whole = occluded_reid.load(tmp_path, all=True)
    assert rows(whole.train, folder) == QUERY + GALLERY
    assert whole.trials == []
    assert (loaded.variant, whole.variant) == ({"all": False}, {"all": True})


def test_flat_form_reads_the_same_people(tmp_path):
    folder = tmp_path / "Occluded_REID"
    grow(folder, "occluded_body_images/001_01.tif", "whole_body_images/001_02.tif", "whole_body_images/200_05.tif")
    (trial,) = occluded_reid.load(tmp_path).trials
    assert rows(trial.query, folder) == [("occluded_body_images/001_01.tif", 1, None)]
    assert [pid for _, pid, _ in rows(trial.gallery, folder)] == [1, 200]


def test_part_missing_is_named(tmp_path):
    grow(tmp_path / "Occluded_REID", "occluded_body_images/001/001_01.tif")
    with pytest.raises(FileNotFoundError, match="whole_body_images: found no such folder"):
        occluded_reid.load(tmp_path)
