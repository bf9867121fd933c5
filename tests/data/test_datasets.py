from __future__ import annotations

import inspect
import time
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from trees import grow, market, picture

import reid.data.datasets
from reid.data import looks, records
from reid.data.datasets import _market, folder, grocery_store, market1501, omniglot, pku_reid
from reid.evaluation import rank

NAMES = ["folder", "grocery_store", "market1501", "omniglot", "pku_reid"]


def rows(samples, root: Path):
    return [(Path(sample.path).relative_to(root).as_posix(), sample.pid, sample.camid) for sample in samples]


@pytest.mark.parametrize("name", NAMES)
def test_every_set_is_a_load_of_plain_keywords_and_a_card(name):
    module = import_module(f"{reid.data.datasets.__name__}.{name}")
    parameters = dict(inspect.signature(module.load).parameters)
    assert next(iter(parameters)) == "root"
    assert parameters["check_counts"].default is True
    assert all(p.kind is p.KEYWORD_ONLY for key, p in parameters.items() if key != "root")
    assert module.CARD.terms
    assert module.CARD.page
    assert module.CARD.status == "available"
    assert module.__doc__.count("Counts:") == 1


@pytest.mark.parametrize("name", ["grocery_store", "market1501", "omniglot", "pku_reid"])
def test_a_missing_set_says_where_to_get_it(tmp_path, name):
    module = import_module(f"{reid.data.datasets.__name__}.{name}")
    with pytest.raises(FileNotFoundError, match=f"{name}: found none of .*{module.CARD.page}"):
        module.load(tmp_path)


# ---- Market-1501 and its form


@pytest.fixture(scope="module")
def full_market(tmp_path_factory):
    """A whole Market-1501 in links, nested in the way one of the two habits has it."""
    root = tmp_path_factory.mktemp("market")
    market(root / "market1501" / "Market-1501-v15.09.15")
    return root


def test_market1501_at_full_size_has_the_published_counts(full_market):
    start = time.process_time()
    loaded = market1501.load(full_market)
    assert time.process_time() - start < 3
    assert repr(loaded) == "<market1501 train 751 ids 12,936 imgs 6 cams, 3,368 queries in 15,913>"
    assert loaded.notes == ()
    pids = {sample.pid for sample in loaded.trials[0].gallery}
    assert 0 in pids
    assert -1 not in pids
    assert 0 not in {sample.pid for sample in (*loaded.train, *loaded.trials[0].query)}


def test_market1501_with_all_trains_on_every_person_and_scores_nobody(full_market):
    loaded = market1501.load(full_market, all=True)
    assert repr(loaded) == "<market1501 train 1,501 ids 29,419 imgs 6 cams>"
    assert loaded.variant == {"all": True}


def test_market1501_multi_query_is_all_of_gt_bbox_of_the_person_by_the_camera(tmp_path):
    root = grow(
        tmp_path / "market1501",
        *("bounding_box_train/0001_c1s1_000001_01.jpg", "bounding_box_test/0002_c3s1_000001_01.jpg"),
        *("query/0002_c1s1_000001_00.jpg", "query/0002_c2s1_000001_00.jpg"),
        *("gt_bbox/0002_c1s1_000001_00.jpg", "gt_bbox/0002_c1s1_000076_00.jpg", "gt_bbox/0002_c3s1_000001_00.jpg"),
        "gt_bbox/0003_c2s1_000001_00.jpg",
    )
    loaded = market1501.load(root.parent, check_counts=False, multi_query=True)
    (trial,) = loaded.trials
    assert [[Path(sample.path).relative_to(root).as_posix() for sample in group] for group in trial.together] == [
        ["query/0002_c1s1_000001_00.jpg", "gt_bbox/0002_c1s1_000076_00.jpg"],
        ["query/0002_c2s1_000001_00.jpg"],
    ]
    assert loaded.variant["multi_query"] is True
    plain = market1501.load(root.parent, check_counts=False)
    assert plain.trials[0].together == ()
    assert plain.variant == {"all": False, "distractors": "published"}


def test_market1501_with_one_picture_missing_says_so(tmp_path):
    root = market(tmp_path / "Market-1501-v15.09.15")
    records.images(root / "bounding_box_train")[5].unlink()
    with pytest.raises(ValueError, match=r"market1501: found 12,935 train images, expected 12,936"):
        market1501.load(tmp_path)
    assert market1501.load(tmp_path, check_counts=False).notes == (
        "market1501: found 12,935 train images, expected 12,936",
    )


def test_market_names_give_pid_and_camera_of_any_length_and_junk_is_not_loaded(tmp_path):
    root = tmp_path / "x-1_c2"  # a folder whose own name has Market's form must not be parsed
    grow(root, "0002_c1s1_000451_03.jpg", "0003_c15_f01.PNG", "-1_c1s1_1_1.jpg", "0000_c2s1_1.jpg", "._0004_c1.jpg")
    grow(root, "Thumbs.db")
    assert rows(_market.read(root), root) == [
        ("0000_c2s1_1.jpg", 0, 2),
        ("0002_c1s1_000451_03.jpg", 2, 1),
        ("0003_c15_f01.PNG", 3, 15),
    ]


def test_a_market_name_of_another_form_is_named(tmp_path):
    grow(tmp_path, "0002_c1.jpg", "person.jpg")
    with pytest.raises(ValueError, match=r"person\.jpg: found this name; expected <pid>_c<camid>"):
        _market.read(tmp_path)


# ---- PKU-Reid

ORIENTATIONS = [f"{camid:02d}_{side}.png" for camid in (1, 2) for side in range(1, 9)]


def test_pku_reid_searches_each_camera_with_the_other(tmp_path):
    root = tmp_path / "pku_reid_part"
    grow(root, *(f"{person}/{name}" for person in ("003", "112") for name in ORIENTATIONS))
    loaded = pku_reid.load(tmp_path)
    assert rows(loaded.train, root) == [
        (f"{person}/{name}", int(person), int(name[:2])) for person in ("003", "112") for name in ORIENTATIONS
    ]
    one, two = loaded.trials
    assert {sample.camid for sample in one.query} == {1} == {sample.camid for sample in two.gallery}
    assert {sample.camid for sample in one.gallery} == {2} == {sample.camid for sample in two.query}
    assert len(one.query) == len(one.gallery) == 16
    assert loaded.variant == {"persons": 2}


def test_pku_reid_in_two_parts_that_share_nobody(tmp_path):
    everybody = ("001", "004", "008", "010", "012", "109", "110")
    grow(tmp_path / "pku_reid", *(f"{person}/{name}" for person in everybody for name in ORIENTATIONS))
    looked_at, others = (pku_reid.load(tmp_path, people=people) for people in ("looked_at", "others"))
    assert {sample.pid for sample in looked_at.train} == {1, 12, 109}
    assert {sample.pid for trial in others.trials for sample in trial.query} == {4, 8, 10, 110}
    assert others.variant == {"persons": 4, "people": "others"}
    with pytest.raises(ValueError, match="found PEOPLE some; expected all, looked_at, others"):
        pku_reid.load(tmp_path, people="some")


def test_pku_reid_in_its_flat_form_reads_the_same(tmp_path):
    root = tmp_path / "PKUv1a_128x48"
    grow(root, *(f"{person:03d}_{camid}_{side}.png" for person in (1, 7) for camid in (1, 2) for side in range(8)))
    loaded = pku_reid.load(tmp_path)
    assert repr(loaded) == "<pku_reid train 2 ids 32 imgs 2 cams, 16 queries in 16, 16 queries in 16>"


def test_pku_reid_names_the_person_whose_pictures_are_not_sixteen(tmp_path):
    grow(
        tmp_path / "pku_reid", *(f"003/{name}" for name in ORIENTATIONS), *(f"004/{name}" for name in ORIENTATIONS[1:])
    )
    with pytest.raises(ValueError, match=r"found 15 pictures of person 004, expected 16"):
        pku_reid.load(tmp_path)
    grow(tmp_path / "pku_reid", "005/portrait.png")
    with pytest.raises(ValueError, match=r"portrait\.png: found this name"):
        pku_reid.load(tmp_path)


def test_pku_reid_without_pictures_is_missing(tmp_path):
    (tmp_path / "pku_reid").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures"):
        pku_reid.load(tmp_path)


# ---- Omniglot

SMALL1 = {"Greek": 2, "Korean": 3}
SMALL2 = {"Greek": 2, "Tagalog": 2, "Sanskrit": 1}


def drawings(part: str, alphabets: dict[str, int]) -> list[str]:
    return [
        f"{part}/{alphabet}/character{c:02d}/{c:04d}_{d:02d}.png"
        for alphabet, characters in alphabets.items()
        for c in range(1, characters + 1)
        for d in (1, 2)
    ]


@pytest.mark.parametrize("form", ["zips", "folders"])
def test_omniglot_drops_alphabets_of_both_archives_from_the_test_side(tmp_path, form):
    root = tmp_path / "omniglot"
    root.mkdir()
    for part, alphabets in (("images_background_small1", SMALL1), ("images_background_small2", SMALL2)):
        if form == "folders":
            grow(root, *drawings(part, alphabets))
            continue
        with zipfile.ZipFile(root / f"{part}.zip", "w") as file:
            for name in drawings(part, alphabets):
                file.writestr(name, picture(".png"))
    loaded = omniglot.load(tmp_path, check_counts=False)
    (trial,) = loaded.trials
    assert len(loaded.train) == 10
    assert sorted({sample.pid for sample in loaded.train}) == [0, 1, 2, 3, 4]
    assert [sample.pid for sample in trial.query] == [5, 5, 6, 6, 7, 7]
    assert {Path(sample.path).parts[-3] for sample in trial.query} == {"Sanskrit", "Tagalog"}
    assert trial.gallery is None
    assert loaded.metric == "retrieval"
    assert looks.broken([*loaded.train, *trial.query]) == []
    assert "found 5 train characters, expected 136" in loaded.notes[0]
    with pytest.raises(ValueError, match="expected 136"):
        omniglot.load(tmp_path)


def test_omniglot_with_one_part_missing_says_which(tmp_path):
    grow(tmp_path / "omniglot", *drawings("images_background_small1", SMALL1))
    with pytest.raises(FileNotFoundError, match=r"no images_background_small2\.zip"):
        omniglot.load(tmp_path)


# ---- Grocery Store


def grocery(root: Path, **lists: str) -> Path:
    root.mkdir(parents=True)
    for name in ("train", "val", "test"):
        (root / f"{name}.txt").write_text(lists.get(name, ""))
    return root


def test_grocery_store_joins_its_lists_and_splits_classes(tmp_path):
    root = grocery(
        tmp_path / "GroceryStoreDataset" / "dataset",
        train="train/b.jpg, 43, 5\ntrain/Oat, Milk/a.jpg, 44, 6\n\n",
        val="val/b.jpg, 43, 5\n",
        test="test/a.jpg, 0, 0\ntest/b.jpg, 80, 9\n",
    )
    loaded = grocery_store.load(tmp_path, check_counts=False)
    assert rows(loaded.train, root) == [("test/a.jpg", 0, None), ("train/b.jpg", 43, None), ("val/b.jpg", 43, None)]
    assert rows(loaded.trials[0].query, root) == [("test/b.jpg", 80, None), ("train/Oat, Milk/a.jpg", 44, None)]
    assert loaded.trials[0].gallery is None
    assert loaded.metric == "retrieval"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg, 1, 7\nb.jpg, 50, 7", r"coarse classes \[7\] on both sides"),
        ("a.jpg, one, 7", r"train\.txt, line 1"),
        ("a.jpg", r"train\.txt, line 1"),
        ("a.jpg, 1, 7\n../../a.jpg, 2, 7", r"train\.txt, line 2: .*stays below"),
    ],
)
def test_grocery_store_refuses_lists_that_are_not_its_own(tmp_path, line, message):
    grocery(tmp_path / "grocery_store", train=line)
    with pytest.raises(ValueError, match=message):
        grocery_store.load(tmp_path, check_counts=False)


def test_grocery_store_with_a_list_missing_says_which(tmp_path):
    (grocery(tmp_path / "grocery_store") / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt"):
        grocery_store.load(tmp_path)


# ---- a folder of one's own


def test_folder_in_market_form_is_detected(tiny_world):
    loaded = folder.load(tiny_world, path="source_a")
    assert repr(loaded) == "<source_a train 10 ids 80 imgs 2 cams, 16 queries in 50>"
    assert loaded.variant == {"form": "market"}
    assert loaded.root == tiny_world / "source_a"


def test_folder_of_market_names_alone_is_all_for_training(tmp_path):
    grow(tmp_path / "a" / "mine", "0001_c1_1.jpg", "0000_c1_1.jpg", "0002_c2_1.jpg", "-1_c1_1.jpg")
    loaded = folder.load(tmp_path, path="a/mine")
    assert loaded.name == "mine"
    assert rows(loaded.train, loaded.root) == [("0001_c1_1.jpg", 1, 1), ("0002_c2_1.jpg", 2, 2)]
    assert loaded.trials == []


def test_folder_in_market_form_may_have_only_one_side(tmp_path):
    grow(tmp_path / "train_only", "bounding_box_train/0001_c1.jpg")
    grow(tmp_path / "test_only", "query/0001_c1.jpg", "bounding_box_test/0001_c2.jpg", "bounding_box_test/0000_c2.jpg")
    assert repr(folder.load(tmp_path, path="train_only")) == "<train_only train 1 ids 1 imgs 1 cams>"
    assert repr(folder.load(tmp_path, path="test_only")) == "<test_only, 1 queries in 2>"


def test_folder_of_class_folders_is_all_for_training(tmp_path):
    grow(tmp_path / "mine", "b/1.jpg", "a/2.jpg", "a/1.jpg", "c/notes.txt")
    loaded = folder.load(tmp_path, path="mine")
    assert rows(loaded.train, loaded.root) == [("a/1.jpg", 1, None), ("a/2.jpg", 1, None), ("b/1.jpg", 2, None)]
    assert loaded.variant == {"form": "classes"}


def test_folder_of_classes_with_test_is_searched_within_itself(tmp_path):
    grow(tmp_path / "mine", "train/a/1.jpg", "test/b/1.jpg", "test/b/2.jpg")
    (trial,) = folder.load(tmp_path, path="mine", metric="retrieval").trials
    assert trial.gallery is None
    assert [sample.pid for sample in trial.query] == [2, 2]
    with pytest.raises(ValueError, match="METRIC retrieval"):
        folder.load(tmp_path, path="mine")


def test_folder_of_classes_with_query_and_gallery(tmp_path):
    grow(tmp_path / "mine", "train/a/1.jpg", "query/b/1.jpg", "gallery/b/2.jpg", "gallery/c/1.jpg")
    (trial,) = folder.load(tmp_path, path="mine").trials
    assert [sample.pid for sample in trial.query] == [2]
    assert [sample.pid for sample in trial.gallery] == [2, 3]
    grow(tmp_path / "mine", "test/b/3.jpg")
    with pytest.raises(ValueError, match="one or the other"):
        folder.load(tmp_path, path="mine")


def test_folder_notes_what_it_passes_over(tmp_path):
    grow(
        tmp_path / "mine", "a/1.jpg", "b/cam1/1.jpg", "b/cam2/2.jpg", "c/1.heic", "a/film.mp4", "notes.txt", "a/.hidden"
    )
    assert folder.load(tmp_path, path="mine").notes == (
        "mine: 2 pictures lie in folders that are not read, the first b/cam1/1.jpg, b/cam2/2.jpg",
        "mine: 2 files are of kinds that are not read, the first a/film.mp4, c/1.heic; HEIC is not read: convert it to JPEG, "
        "as `heif-convert x.heic x.jpg` does",
    )
    (tmp_path / "mine" / "a" / "round").symlink_to(tmp_path / "mine")
    assert len(folder.load(tmp_path, path="mine").notes) == 2
    grow(tmp_path / "market", "bounding_box_train/0001_c1.jpg", "bounding_box_train/-1_c1.jpg", "gt_bbox/0001_c1.jpg")
    assert folder.load(tmp_path, path="market").notes == (
        "market: 1 pictures lie in folders that are not read, the first gt_bbox/0001_c1.jpg",
    )
    grow(tmp_path / "phone", "a/1.heic")
    with pytest.raises(ValueError, match=r"found no pictures in .*1 files are of kinds .*a/1\.heic; HEIC"):
        folder.load(tmp_path, path="phone")


@pytest.mark.parametrize(
    ("name", "found"),
    [("-2_c1.jpg", "person -2"), (f"{10**30}_c1.jpg", "person 1000"), (f"1_c{10**20}.jpg", "camera 1000")],
)
def test_numbers_in_names_that_none_can_be_are_one_line(tmp_path, name, found):
    grow(tmp_path / "mine", "0001_c1.jpg", name)
    with pytest.raises(ValueError, match=rf"{name}: found the .*{found}.*expected numbers of 0 to") as error:
        folder.load(tmp_path, path="mine")
    assert "\n" not in str(error.value)


def test_folder_has_no_class_that_scoring_takes_for_a_distractor(tmp_path):
    grow(tmp_path / "mine", "query/a/1.jpg", "gallery/a/2.jpg", "query/b/1.jpg", "gallery/b/2.jpg")
    (trial,) = folder.load(tmp_path, path="mine").trials
    embeddings = np.eye(2, dtype=np.float32)
    scores = rank.score(embeddings, embeddings, rank.Ids.of(trial.query), rank.Ids.of(trial.gallery))
    assert scores.num_valid == 2


def csv(folder_: Path, text: str, name: str = "list.csv") -> Path:
    folder_.mkdir(parents=True, exist_ok=True)
    (folder_ / name).write_text(text)
    return folder_


LIST = """path,pid,camid,split
b.jpg,anna,3,train
a.jpg,zoe,,train

c.jpg,ben,1,query
"d,1.jpg",ben,2,gallery
"""


@pytest.mark.parametrize(("path", "name"), [("mine", "mine"), ("mine/list.csv", "list")])
def test_folder_as_csv_maps_any_pid_over_the_sorted_names(tmp_path, path, name):
    root = csv(tmp_path / "mine", LIST)
    csv(root, "Class Name,Class ID\nx,1\n", "classes.csv")
    loaded = folder.load(tmp_path, path=path)
    assert rows(loaded.train, root) == [("a.jpg", 3, None), ("b.jpg", 1, 3)]
    (trial,) = loaded.trials
    assert rows([*trial.query, *trial.gallery], root) == [("c.jpg", 2, 1), ("d,1.jpg", 2, 2)]
    assert (loaded.name, loaded.root, loaded.variant) == (name, root, {"form": "csv"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../../b.jpg,anna,1,train", "line 2: .*stays below"),
        ("/etc/b.jpg,anna,1,train", "line 2: .*stays below"),
        ("b.jpg,anna,one,train", "line 2: .*one"),
        ("b.jpg,anna,1,val", "line 2: .*val"),
        ("b.jpg,anna,1,test", "test part in .*METRIC retrieval"),
        ("b.jpg,anna,,test\nc.jpg,anna,,query\nd.jpg,anna,,gallery", "test beside query or gallery"),
        ("b.jpg,anna,1", "line 2"),
        ("b.jpg,anna,1,query", "found 1 query and 0 gallery"),
        ("", "found no pictures"),
    ],
)
def test_folder_as_csv_names_the_line_that_is_wrong(tmp_path, row, message):
    csv(tmp_path / "mine", f"path,pid,camid,split\n{row}\n")
    with pytest.raises(ValueError, match=message):
        folder.load(tmp_path, path="mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"path": "../mine"},
            r"found PATH \.\./mine; expected a path below DATASETS\.ROOT: set that to /\S+ and PATH to mine$",
        ),
        ({"path": "/some/where/mine"}, "set that to /some/where and PATH to mine"),
        ({"path": "~/mine"}, f"set that to {Path.home()} and PATH to mine"),
        ({"path": "mine", "form": "coco"}, "FORM 'coco'"),
        ({"path": "mine", "metric": "mAP"}, "METRIC 'mAP'"),
        ({"path": "mine", "form": "csv"}, "0 CSV files"),
        ({"path": "mine", "form": "classes"}, "no pictures"),
    ],
)
def test_folder_options_that_do_not_fit_are_named(tmp_path, options, message):
    grow(tmp_path / "mine", "0001_c1.jpg")
    with pytest.raises(ValueError, match=message):
        folder.load(tmp_path, **options)


def test_nothing_is_written_below_the_root(tmp_path):
    grow(tmp_path / "mine", "a/1.jpg")
    csv(tmp_path / "listed", LIST)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    folder.load(tmp_path, path="mine")
    folder.load(tmp_path, path="listed")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


# ---- real data


@pytest.mark.data
@pytest.mark.parametrize(
    ("module", "line"),
    [
        (pku_reid, "<pku_reid train 37 ids 592 imgs 2 cams, 296 queries in 296, 296 queries in 296>"),
        (omniglot, "<omniglot train 136 ids 2,720 imgs no cams, 2,120 queries in the rest>"),
        (grocery_store, "<grocery_store train 44 ids 3,237 imgs no cams, 2,184 queries in the rest>"),
    ],
)
def test_real_sets_have_their_counts_and_no_broken_picture(real_data, module, line):
    loaded = module.load(real_data)
    assert repr(loaded) == line
    assert loaded.notes == ()
    everything = [*loaded.train, *(sample for trial in loaded.trials for sample in trial.query)]
    assert looks.broken(everything) == []
