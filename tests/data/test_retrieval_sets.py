"""Sets of birds, cars, products, clothes, species and whales: exact lists from small trees, published counts from whole ones."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import list_trees
import pytest
from list_trees import cars_csv, cars_mat, cub200, inshop, sop, write
from person_trees import plant, rows

from reid.data import sources

BIRDS = ["001.Auk/a.jpg", "100.Wren/b.jpg", "101.Jay/c.jpg", "101.Jay/d.jpg", "200.Tern/e.jpg", "200.Tern/f.jpg"]
THINGS = {
    "train": [(1, "bicycle_final/1_0.JPG"), (1, "bicycle_final/1_1.JPG"), (2, "sofa_final/2_0.JPG")],
    "test": [(3, "sofa_final/3_0.JPG"), (3, "sofa_final/3_1.JPG")],
}
CLOTHES = [
    ("img/WOMEN/Dresses/id_00000002/02_1_front.jpg", 2, "train"),
    ("img/MEN/Denim/id_00000003/01_2_side.jpg", 3, "query"),
    ("img/MEN/Denim/id_00000003/01_1_front.jpg", 3, "gallery"),
    ("img/MEN/Denim/id_00000004/01_1_front.jpg", 4, "gallery"),
]
SPECIES = {
    "train": ["train_val2018/Plantae/7477/a.jpg", "train_val2018/Aves/12/b.jpg"],
    "test": ["train_val2018/Aves/13/d.jpg", "train_val2018/Aves/13/c.jpg"],
}
WHALES = ["d.jpg,w_2", "c.jpg,w_2", "b.jpg,w_1", "a.jpg,new_whale", "e.jpg,w_3", "f.jpg,w_1", "g.jpg,w_2"]


def small_cub200(root: Path) -> Path:
    plant(root / "images", BIRDS)
    return cub200(root, BIRDS)


def small_cars196(root: Path) -> Path:
    plant(root / "car_ims", (f"{i:06d}.jpg" for i in range(1, 6)))
    return cars_mat(root, [1, 98, 99, 196, 99])


def small_sop(root: Path) -> Path:
    plant(root, (path for half in THINGS.values() for _, path in half))
    return sop(root, THINGS)


def small_inshop(root: Path) -> Path:
    plant(root, (path for path, _, _ in CLOTHES))
    inshop(root / "Eval/list_eval_partition.txt", CLOTHES)
    return root


def small_inaturalist2018(root: Path) -> Path:
    for half, names in SPECIES.items():
        plant(root, names)
        write(root / f"Inaturalist_{half}_set1.txt", names)
    return root


def small_humpback_whale(root: Path) -> Path:
    plant(root / "train", (row.split(",")[0] for row in WHALES))
    write(root / "train.csv", ["Image,Id", *WHALES])
    return root


# name -> how a small tree of it is made, and the folders in which it is found
SMALL = {
    "cub200": (small_cub200, ["CUB_200_2011", "cub200/CUB_200_2011", "cub200"]),
    "cars196": (small_cars196, ["cars196", "stanford_cars"]),
    "sop": (small_sop, ["Stanford_Online_Products", "sop/Stanford_Online_Products", "sop"]),
    "inshop": (small_inshop, ["inshop", "Inshop_Clothes", "inshop/In-shop Clothes Retrieval Benchmark"]),
    "inaturalist2018": (small_inaturalist2018, ["inaturalist2018", "Inaturalist"]),
    "humpback_whale": (small_humpback_whale, ["humpback-whale-identification", "humpback_whale"]),
}


def module(name: str):
    return import_module(f"reid.data.datasets.{name}")


def lists(loaded) -> dict:
    """Every list of a set as rows."""
    (trial,) = loaded.trials
    parts = {"train": loaded.train, "query": trial.query, "gallery": trial.gallery}
    return {name: part and rows(part, loaded.root) for name, part in parts.items()}


LISTS = {
    "cub200": {
        "train": [("images/001.Auk/a.jpg", 1, None), ("images/100.Wren/b.jpg", 100, None)],
        "query": [(f"images/{name}", int(name[:3]), None) for name in BIRDS[2:]],
        "gallery": None,
    },
    "cars196": {
        "train": [("car_ims/000001.jpg", 1, None), ("car_ims/000002.jpg", 98, None)],
        "query": [(f"car_ims/{i:06d}.jpg", pid, None) for i, pid in ((3, 99), (4, 196), (5, 99))],
        "gallery": None,
    },
    "sop": {
        "train": [(path, pid, None) for pid, path in THINGS["train"]],
        "query": [(path, pid, None) for pid, path in THINGS["test"]],
        "gallery": None,
    },
    "inshop": {
        "train": [(CLOTHES[0][0], 2, None)],
        "query": [(CLOTHES[1][0], 3, None)],
        "gallery": [(CLOTHES[2][0], 3, None), (CLOTHES[3][0], 4, None)],
    },
    "inaturalist2018": {
        "train": [("train_val2018/Aves/12/b.jpg", 12, None), ("train_val2018/Plantae/7477/a.jpg", 7477, None)],
        "query": [("train_val2018/Aves/13/c.jpg", 13, None), ("train_val2018/Aves/13/d.jpg", 13, None)],
        "gallery": None,
    },
    # Of three whales the first is trained on; w_2 has three pictures, w_3 one, which is no query.
    "humpback_whale": {
        "train": [("train/b.jpg", 0, None), ("train/f.jpg", 0, None)],
        "query": [("train/c.jpg", 1, None)],
        "gallery": [("train/d.jpg", 1, None), ("train/g.jpg", 1, None), ("train/e.jpg", 2, None)],
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_lists_are_exact_in_every_nesting(tmp_path, name):
    make, places = SMALL[name]
    for number, place in enumerate(places):
        folder = make(tmp_path / str(number) / place)
        loaded = module(name).load(tmp_path / str(number), check_counts=False)
        assert loaded.root == folder
        assert lists(loaded) == LISTS[name]
        assert loaded.metric == "retrieval"


KS = {
    "cub200": (1, 2, 4, 8),
    "cars196": (1, 2, 4, 8),
    "sop": (1, 10, 100, 1000),
    "inshop": (1, 10, 20, 30, 40, 50),
    "inaturalist2018": (1, 4, 16, 32),
    "humpback_whale": (1, 5),
}


@pytest.mark.parametrize("name", SMALL)
def test_set_has_the_ks_of_its_benchmark_a_card_and_plain_keywords(tmp_path, name):
    SMALL[name][0](tmp_path / SMALL[name][1][0])
    set_module = module(name)
    assert set_module.load(tmp_path, check_counts=False).ks == KS[name]
    parameters = dict(inspect.signature(set_module.load).parameters)
    assert parameters.pop("root").kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters.values())
    assert parameters["check_counts"].default is True
    assert all((set_module.CARD.title, set_module.CARD.terms, set_module.CARD.page.startswith("https://")))
    assert set_module.__doc__.count("Counts:") == 1


@pytest.mark.parametrize("name", SMALL)
def test_counts_that_are_off_stop_or_become_a_note(tmp_path, name):
    SMALL[name][0](tmp_path / SMALL[name][1][0])
    with pytest.raises(ValueError, match=rf"{name}: found .*, expected .* DATASETS\.CHECK_COUNTS False"):
        module(name).load(tmp_path)
    assert module(name).load(tmp_path, check_counts=False).notes[0].startswith(f"{name}: found ")


@pytest.mark.parametrize("name", SMALL)
def test_missing_set_says_what_was_tried_and_where_to_get_it(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=re.escape(module(name).CARD.page)):
        module(name).load(tmp_path)


# ---- bad input

FIRST_LISTS = {
    "cub200": "CUB_200_2011/images.txt",
    "sop": "Stanford_Online_Products/Ebay_test.txt",
    "inshop": "inshop/Eval/list_eval_partition.txt",
    "inaturalist2018": "inaturalist2018/Inaturalist_train_set1.txt",
    "humpback_whale": "humpback-whale-identification/train.csv",
}


@pytest.mark.parametrize("name", FIRST_LISTS)
def test_list_of_another_form_and_missing_picture_are_named(tmp_path, name):
    folder = SMALL[name][0](tmp_path / SMALL[name][1][0])
    file = tmp_path / FIRST_LISTS[name]
    lines = file.read_text().splitlines()
    write(file, [*lines, "something else"])
    with pytest.raises(ValueError, match=rf"{file.name}, line {len(lines) + 1}: found 'something else'; expected `"):
        module(name).load(tmp_path, check_counts=False)
    write(file, lines)
    gone = sorted(folder.rglob("*.[jJ]*"))[-1]
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=rf"found 1 of its \d pictures missing in .*{gone.name}; expected all"):
        module(name).load(tmp_path, check_counts=False)


@pytest.mark.parametrize("name", ["sop", "inshop", "humpback_whale"])
def test_first_picture_is_not_taken_for_a_header(tmp_path, name):
    SMALL[name][0](tmp_path / SMALL[name][1][0])
    file = tmp_path / FIRST_LISTS[name]
    write(file, file.read_text().splitlines()[2 if name == "inshop" else 1 :])
    with pytest.raises(ValueError, match=rf"{file.name}, line 1: found .*; expected a header"):
        module(name).load(tmp_path, check_counts=False)


def test_header_in_a_list_without_one_is_no_picture(tmp_path):
    folder = small_cub200(tmp_path / "cub200")
    write(folder / "images.txt", ["image_id path", *(folder / "images.txt").read_text().splitlines()])
    with pytest.raises(ValueError, match=r"images\.txt, line 1: found 'image_id path'; expected `<number> <path>`"):
        module("cub200").load(tmp_path, check_counts=False)


def test_class_in_both_halves_is_refused(tmp_path):
    sop(small_sop(tmp_path / "sop"), {**THINGS, "test": [(2, "sofa_final/3_0.JPG"), (3, "sofa_final/3_1.JPG")]})
    with pytest.raises(ValueError, match="sop: found 1 classes both trained on and scored, the first 2; expected none"):
        module("sop").load(tmp_path, check_counts=False)
    moved = [(path, 2, part) for path, _, part in CLOTHES]
    inshop(small_inshop(tmp_path / "inshop") / "Eval/list_eval_partition.txt", moved)
    with pytest.raises(ValueError, match="inshop: found 1 classes both trained on and scored, the first 2"):
        module("inshop").load(tmp_path, check_counts=False)
    folder = small_inaturalist2018(tmp_path / "inaturalist2018")
    write(folder / "Inaturalist_test_set1.txt", SPECIES["train"][:1])
    with pytest.raises(ValueError, match="inaturalist2018: found 1 classes both trained on and scored, the first 7477"):
        module("inaturalist2018").load(tmp_path, check_counts=False)


def test_class_with_one_picture_is_noted(tmp_path):
    small_cars196(tmp_path / "cars196")
    note = module("cars196").load(tmp_path, check_counts=False).notes[-1]
    assert note == "cars196: 1 of 2 test classes have one image and no match, the first 196"


def test_lists_of_cub_must_fit_together(tmp_path):
    folder = small_cub200(tmp_path / "cub200")
    lines = (folder / "image_class_labels.txt").read_text().splitlines()
    write(folder / "image_class_labels.txt", lines[:-1])
    with pytest.raises(ValueError, match=r"found 6 pictures in images\.txt and 5 in image_class_labels\.txt"):
        module("cub200").load(tmp_path, check_counts=False)


def test_paths_of_lists_stay_below_the_root(tmp_path):
    folder = small_sop(tmp_path / "sop")
    sop(folder, {**THINGS, "test": [(3, "../../etc/3_0.JPG")]})
    with pytest.raises(ValueError, match=r"found the path '\.\./\.\./etc/3_0\.JPG'; expected one that stays below"):
        module("sop").load(tmp_path, check_counts=False)


# ---- forms


def test_cars_repacked_take_the_class_of_the_list(tmp_path):
    folder = cars_csv(tmp_path / "cars196", {"train": [1, 99, 99], "test": [98, 196]})
    loaded = module("cars196").load(tmp_path, check_counts=False)
    home = "car_data/car_data"
    assert lists(loaded) == {
        "train": [(f"{home}/test/Model 98/00001.jpg", 98, None), (f"{home}/train/Model 1/00001.jpg", 1, None)],
        "query": [
            (f"{home}/test/Model 196/00002.jpg", 196, None),
            (f"{home}/train/Model 99/00002.jpg", 99, None),
            (f"{home}/train/Model 99/00003.jpg", 99, None),
        ],
        "gallery": None,
    }
    assert loaded.variant == {"form": "csv"}
    (folder / home / "test/Model 98/00001.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"anno_test\.csv: found 1 of its 2 pictures missing in .*first 00001\.jpg"
    ):
        module("cars196").load(tmp_path, check_counts=False)
    write(folder / "anno_test.csv", ["fname,bbox_x1,bbox_y1,bbox_x2,bbox_y2,class"])
    with pytest.raises(ValueError, match=r"anno_test\.csv, line 1: found 'fname,.*'; expected `<name>,<x1>"):
        module("cars196").load(tmp_path, check_counts=False)


def test_cars_mat_of_another_form_is_refused(tmp_path):
    folder = small_cars196(tmp_path / "cars196")
    list_trees.io.savemat(str(folder / "cars_annos.mat"), {"something": [1, 2]})
    with pytest.raises(ValueError, match=r"cars_annos\.mat: found no annotations that can be read \(KeyError"):
        module("cars196").load(tmp_path, check_counts=False)
    (folder / "cars_annos.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut short")
    with pytest.raises(ValueError, match=r"cars_annos\.mat: found no annotations that can be read"):
        module("cars196").load(tmp_path, check_counts=False)


def test_inshop_is_the_same_below_either_root_of_its_pictures(tmp_path):
    one = module("inshop").load(small_inshop(tmp_path / "one/inshop").parent, check_counts=False)
    folder = tmp_path / "two/inshop"
    inshop(folder / "list_eval_partition.txt", CLOTHES)
    plant(folder / "Img", (path for path, _, _ in CLOTHES))
    two = module("inshop").load(folder.parent, check_counts=False)
    assert two.root == folder / "Img"
    assert lists(one) == lists(two)
    assert one.variant == two.variant


# ---- at full size: (classes, images) trained on, (queries, gallery)

FULL = {
    "cub200": ((100, 5_900), (5_888, None)),  # 11,788 together; how many of each half is not checked
    "cars196": ((98, 8_054), (8_131, None)),
    "sop": ((11_318, 59_551), (60_502, None)),
    "inshop": ((3_997, 25_882), (14_218, 12_612)),
    "humpback_whale": ((2_502, None), (None, None)),
    "inaturalist2018": ((5_690, 325_846), (136_093, None)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "inaturalist2018")) for name in FULL]
)
def test_set_at_full_size_has_the_published_counts(tmp_path, name):
    getattr(list_trees, f"full_{name}")(tmp_path)
    loaded = module(name).load(tmp_path)
    (classes, images), (queries, searched) = FULL[name]
    (trial,) = loaded.trials
    assert loaded.notes == ()
    assert len({sample.pid for sample in loaded.train}) == classes
    assert images in (None, len(loaded.train))
    assert queries in (None, len(trial.query))
    assert searched in (None, trial.gallery and len(trial.gallery))


def test_whales_of_one_picture_are_searched_and_never_searched_for(tmp_path):
    list_trees.full_humpback_whale(tmp_path)
    loaded = module("humpback_whale").load(tmp_path)
    (trial,) = loaded.trials
    assert len(loaded.train) + len(trial.query) + len(trial.gallery) == 15_697
    known = {sample.pid for sample in trial.gallery}
    assert len({sample.pid for sample in trial.query}) == len(trial.query)
    assert all(sample.pid in known for sample in trial.query)
    assert not known & {sample.pid for sample in loaded.train}


# ---- validation


@pytest.mark.parametrize("name", ["cub200", "sop", "inshop"])
def test_validation_of_a_retrieval_set_has_classes_of_its_own(tmp_path, name):
    getattr(list_trees, f"full_{name}")(tmp_path)
    loaded = module(name).load(tmp_path)
    (training,), validation = sources.hold_out([loaded], 0.1, seed=0)
    (trial,) = validation.trials
    trained, held = {s.pid for s in training.train}, {s.pid for s in trial.query}
    tested = {s.pid for test in loaded.trials for s in (*test.query, *(test.gallery or ()))}
    assert (validation.metric, trial.gallery) == ("retrieval", None)
    assert not trained & held
    assert not (trained | held) & tested
    assert len(held) == round(0.1 * len(trained | held))
    assert len(training.train) + len(trial.query) == len(loaded.train)
