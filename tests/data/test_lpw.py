import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import lpw

SMALL = [
    ("scen1/view1/7/00001.jpg", 1_000_007, 101),
    ("scen1/view2/7/00001.jpg", 1_000_007, 102),
    ("scen2/view1/7/00001.jpg", 2_000_007, 201),
    ("scen3/view4/12/00003.jpg", 3_000_012, 304),
]


@pytest.mark.parametrize("place", ["pep_256x128", "lpw/pep_256x128", "LPW/pep_256x128"])
def test_both_nestings_read_the_same_and_scenes_share_neither_people_nor_cameras(tmp_path, place):
    folder = plant(tmp_path, "lpw", at=place)
    loaded = lpw.load(tmp_path)
    assert rows(loaded.train, folder) == SMALL
    assert loaded.trials == []
    assert repr(loaded) == "<lpw train 3 ids 4 imgs 4 cams>"


def test_scene_missing_or_folder_without_a_number_is_named(tmp_path):
    folder = grow(tmp_path / "pep_256x128", "scen1/view1/7/1.jpg", "scen2/view1/7/1.jpg")
    with pytest.raises(FileNotFoundError, match="scen3: found no such folder"):
        lpw.load(tmp_path)
    grow(folder, "scen3/view1/anna/1.jpg")
    with pytest.raises(ValueError, match="anna: found this folder; expected its name to be a number"):
        lpw.load(tmp_path)
