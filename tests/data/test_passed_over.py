"""Whatever a reader of folders passes over is noted with its number and the first names: of every set, read as a config reads it."""

import pytest
from trees import grow

from reid import config
from reid.builder import registry


def notes(root, entry):
    return registry.dataset(config.load(None, ["DATASETS.ROOT", str(root)]), entry, check_counts=False)().notes


def test_sets_in_order_get_no_note(tmp_path):
    grow(tmp_path / "pep_256x128", "scen1/view1/1/1.jpg", "scen2/view1/2/1.jpg", "scen3/view1/3/1.jpg", "readme.txt")
    grow(tmp_path / "pep_256x128", "scen1/view1/1/Thumbs.db", "scen1/view1/1/.hidden", "scen1/view1/__MACOSX/1.jpg")
    assert notes(tmp_path, "lpw") == ()


def test_people_whose_pictures_lie_deeper_and_pictures_beside_people_are_noted(tmp_path):
    grow(tmp_path / "pep_256x128", "scen1/view1/1/1.jpg", "scen2/view1/2/1.jpg", "scen3/view1/3/1.jpg")
    grow(
        tmp_path / "pep_256x128",
        "scen1/view1/4/a/1.jpg",
        "scen1/view1/4/a/2.jpg",
        "scen2/view1/5.jpg",
        "scen3/view1/3/1.mp4",
    )
    assert notes(tmp_path, {"NAME": "lpw", "AS": "mine"}) == (
        "mine: 3 pictures lie in folders that are not read, the first scen1/view1/4/a/1.jpg, scen1/view1/4/a/2.jpg, "
        "scen2/view1/5.jpg",
        "mine: 1 files are of kinds that are not read, the first scen3/view1/3/1.mp4",
    )


@pytest.mark.parametrize("name", ["dukemtmc", "market1501"])
def test_market_s_folders_tell_of_what_lies_among_their_pictures(tmp_path, name):
    root = tmp_path / {"dukemtmc": "DukeMTMC-reID", "market1501": "Market-1501-v15.09.15"}[name]
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        grow(root / part, "0001_c1s1_000001_01.jpg", "0001_c2s1_000001_01.jpg")
    grow(root, "gt_bbox/0001_c1s1_000001_01.jpg", "query/more/0002_c1s1_000001_01.jpg", "query/0003_c1s1.heic")
    told = [note for note in notes(tmp_path, name) if "not read" in note]
    assert told == [
        f"{name}: 1 pictures lie in folders that are not read, the first query/more/0002_c1s1_000001_01.jpg",
        f"{name}: 1 files are of kinds that are not read, the first query/0003_c1s1.heic; HEIC is not read: convert it to "
        "JPEG, as `heif-convert x.heic x.jpg` does",
    ]


def test_pictures_beside_those_of_a_list_that_it_does_not_name_are_noted(tmp_path):
    grow(tmp_path / "mine", "a/1.jpg", "a/2.jpg", "a/3.jpg", "a/film.mp4", "b/1.jpg", "list.csv")
    (tmp_path / "mine" / "list.csv").write_text("path,pid,camid,split\na/1.jpg,1,1,train\nlost/2.jpg,2,1,train\n")
    for path in ("mine", "mine/list.csv"):
        assert notes(tmp_path, {"NAME": "folder", "PATH": path, "AS": "x"}) == (
            "mine: 2 pictures beside those of the list are not in it, the first a/2.jpg, a/3.jpg",
            "mine: 1 files are of kinds that are not read, the first a/film.mp4",
        )
