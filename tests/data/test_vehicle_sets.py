"""VeRi-776, VehicleID and VERI-Wild: exact lists, ten fixed draws, two protocols that are never mixed."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module
from pathlib import Path

import list_trees
import pytest
from list_trees import vehicleid as listed
from list_trees import write
from person_trees import plant, rows

from reid.data.datasets import vehicleid, veri776, veriwild
from reid.evaluation import protocol

VEHICLES = ["image_train/0001_c001_00016450_0.jpg", "image_query/0002_c002_00030600_0.jpg"]
VEHICLES += [f"image_test/0002_c{camid:03d}_00030600_1.jpg" for camid in (2, 19)]
# Gallery pictures of the ten draws from `small_vehicleid`: vehicles 5, 6 and 8.
DRAWN = [(6, 8, 9), (6, 8, 9), (5, 8, 9), (4, 8, 9), (6, 7, 9), (6, 7, 9), (4, 8, 9), (5, 8, 9), (5, 7, 9), (6, 7, 9)]
NAMES = ["veri776", "vehicleid", "veriwild"]


def small_vehicleid(root: Path, place: str = "VehicleID_V1.0") -> Path:
    """Two vehicles to train on; three to score, of three, two and one picture."""
    plant(root / place / "image", (f"{i:07d}.jpg" for i in range(1, 11)))
    lists = {"train_list": [(1, 7), (2, 7), (3, 9)], "test_list_800": [(4, 5), (5, 5), (6, 5), (7, 6), (8, 6), (9, 8)]}
    return listed(root / place, {**lists, "test_list_1600": [(4, 5), (5, 5)], "test_list_2400": [(8, 6), (7, 6)]})


WILD = {"train": ["00003/000001", "00003/000002"], "query": ["11542/119083"], "gallery": ["11542/119084"]}


def small_veriwild(folder: Path, released: bool) -> Path:
    """One vehicle to train on, one to score; cameras 2 in the rows of a released list, else in vehicle_info.txt."""
    plant(folder / "images", (f"{name}.jpg" for names in WILD.values() for name in names))
    files = ("train_list_start0", "test_3000_id_query", "test_3000_id")
    files = files if released else ("train_list", "test_3000_query", "test_3000")
    for file, names in zip(files, WILD.values(), strict=True):
        lines = (f"{name}.jpg 0 {int(name[-1])}" for name in names) if released else names
        write(folder / "train_test_split" / f"{file}.txt", lines)
    if not released:
        info = [f"{name};{int(name[-1])};2018-03-01 10:00:00;VW;SUV;white" for names in WILD.values() for name in names]
        write(folder / "train_test_split/vehicle_info.txt", ["id/image;Camera ID;Time;Model;Type;Color", *info])
    return folder


# ---- VeRi-776


@pytest.mark.parametrize("place", ["VeRi", "veri776/VeRi", "veri776", "veri"])
def test_veri776_reads_vehicles_and_cameras(tmp_path, place):
    folder = plant(tmp_path / place, VEHICLES)
    loaded = veri776.load(tmp_path, check_counts=False)
    (trial,) = loaded.trials
    assert rows(loaded.train, folder) == [(VEHICLES[0], 1, 1)]
    assert rows(trial.query, folder) == [(VEHICLES[1], 2, 2)]
    assert rows(trial.gallery, folder) == [(VEHICLES[2], 2, 2), (VEHICLES[3], 2, 19)]
    assert loaded.metric == "reid"


def test_veri776_refuses_other_names_and_shared_vehicles(tmp_path):
    folder = plant(tmp_path / "VeRi", [*VEHICLES, "image_test/0001_c001_1_0.jpg"])
    with pytest.raises(ValueError, match="veri776: found 1 classes both trained on and scored, the first 1"):
        veri776.load(tmp_path, check_counts=False)
    plant(folder / "image_query", ["car.jpg"])
    with pytest.raises(ValueError, match=r"car\.jpg: found this name; expected <pid>_c<camid>"):
        veri776.load(tmp_path, check_counts=False)


def test_veri776_at_full_size_has_the_published_counts(tmp_path):
    list_trees.full_veri776(tmp_path)
    loaded = veri776.load(tmp_path)
    assert repr(loaded) == "<veri776 train 576 ids 37,778 imgs 20 cams, 1,678 queries in 11,579>"
    assert loaded.notes == ()


# ---- VehicleID


@pytest.mark.parametrize("place", ["VehicleID_V1.0", "vehicleid/VehicleID_V1.0", "vehicleid"])
def test_vehicleid_dml_searches_each_picture_in_the_rest(tmp_path, place):
    folder = small_vehicleid(tmp_path, place)
    loaded = vehicleid.load(tmp_path, check_counts=False, protocol="dml")
    (trial,) = loaded.trials
    assert rows(loaded.train, folder) == [(f"image/{i:07d}.jpg", pid, None) for i, pid in ((1, 7), (2, 7), (3, 9))]
    expected = ((4, 5), (5, 5), (6, 5), (7, 6), (8, 6), (9, 8))
    assert rows(trial.query, folder) == [(f"image/{i:07d}.jpg", pid, None) for i, pid in expected]
    assert trial.gallery is None
    assert (loaded.metric, loaded.ks) == ("retrieval", (1, 5))
    assert loaded.notes[-1] == "vehicleid: 1 of 3 test classes have one image and no match, the first 8"


def numbers(samples) -> list[int]:
    return [int(Path(sample.path).stem) for sample in samples]


def test_vehicleid_reid_has_ten_draws_of_one_gallery_picture_a_vehicle(tmp_path):
    small_vehicleid(tmp_path)
    trials = vehicleid.load(tmp_path, check_counts=False).trials
    assert len(trials) == 10
    for trial in trials:
        assert [sample.pid for sample in trial.gallery] == [5, 6, 8]
        assert sorted(numbers(trial.query) + numbers(trial.gallery)) == [4, 5, 6, 7, 8, 9]
        assert 9 not in numbers(trial.query), "its vehicle has no other picture"
    # The draws are what results were reported with: a change of the rule is a change of every figure.
    assert [tuple(numbers(trial.gallery)) for trial in trials] == DRAWN


def test_vehicleid_draws_are_those_of_the_pictures_not_of_the_list(tmp_path):
    folder = small_vehicleid(tmp_path)
    before = vehicleid.load(tmp_path, check_counts=False).trials
    file = folder / "train_test_split/test_list_800.txt"
    write(file, reversed(file.read_text().splitlines()))
    assert vehicleid.load(tmp_path, check_counts=False).trials == before
    write(file, [line for line in file.read_text().splitlines() if line.endswith(" 5")])
    fewer = vehicleid.load(tmp_path, check_counts=False).trials
    assert [numbers(trial.gallery) for trial in fewer] == [numbers(trial.gallery)[:1] for trial in before]


@pytest.fixture(scope="module")
def full_lists(tmp_path_factory):
    """The three test lists at full size, and a training list that is not."""
    root = tmp_path_factory.mktemp("vehicleid")
    list_trees.full_vehicleid(root, train=100)
    return root


@pytest.mark.parametrize(
    ("size", "ids", "images"), [("small", 800, 6_493), ("medium", 1_600, 13_377), ("large", 2_400, 19_777)]
)
def test_vehicleid_test_lists_have_the_published_counts(full_lists, monkeypatch, size, ids, images):
    monkeypatch.setattr(vehicleid, "COUNTS", {})
    loaded = vehicleid.load(full_lists, size=size)
    assert loaded.notes == ()
    assert {(len(trial.query), len(trial.gallery)) for trial in loaded.trials} == {(images - ids, ids)}


def test_vehicleid_draws_favour_no_picture(full_lists):
    """Of 6,493 pictures of 800 vehicles ten independent draws take about 5,300 different ones."""
    trials = vehicleid.load(full_lists, check_counts=False).trials
    galleries = [set(numbers(trial.gallery)) for trial in trials]
    chance = 1 - (1 - 800 / 6_493) ** 10
    assert abs(len(set().union(*galleries)) / 6_493 - chance) < 0.02
    alike = [len(one & other) / 800 for i, one in enumerate(galleries) for other in galleries[:i]]
    assert abs(sum(alike) / len(alike) - 800 / 6_493) < 0.01


@pytest.mark.slow  # 133,123 links
def test_vehicleid_at_full_size_has_the_published_counts(tmp_path):
    list_trees.full_vehicleid(tmp_path)
    loaded = vehicleid.load(tmp_path, size="large", protocol="dml")
    assert repr(loaded) == "<vehicleid train 13,164 ids 113,346 imgs no cams, 19,777 queries in the rest>"


def test_vehicleid_protocols_and_sizes_are_never_in_one_table(tmp_path):
    small_vehicleid(tmp_path)
    variants = [(size, name) for size in vehicleid.SIZES for name in vehicleid.PROTOCOLS]
    loaded = [vehicleid.load(tmp_path, check_counts=False, size=size, protocol=name) for size, name in variants]
    fingerprints = {protocol.fingerprint(protocol.describe([], [one])) for one in loaded}
    assert len(fingerprints) == len(variants) == 6
    one = loaded[0]
    other = dataclasses.replace(one, trials=[*one.trials[:9], one.trials[8]])
    assert protocol.fingerprint(protocol.describe([], [one])) != protocol.fingerprint(protocol.describe([], [other]))


def test_vehicleid_refuses_unknown_options_and_bad_lists(tmp_path):
    folder = small_vehicleid(tmp_path)
    with pytest.raises(ValueError, match="vehicleid: found SIZE 'huge'; expected small, medium, large"):
        vehicleid.load(tmp_path, size="huge")
    with pytest.raises(ValueError, match="vehicleid: found PROTOCOL 'xbm'; expected reid or dml"):
        vehicleid.load(tmp_path, protocol="xbm")
    listed(folder, {"test_list_800": [(4, 7), (5, 7)]})
    with pytest.raises(ValueError, match="vehicleid: found 1 classes both trained on and scored, the first 7"):
        vehicleid.load(tmp_path, check_counts=False)
    listed(folder, {"test_list_800": [(4, 5), (11, 5), (12, 5)]})
    with pytest.raises(
        FileNotFoundError, match=r"test_list_800\.txt: found 2 of its 3 pictures missing .*0000011\.jpg"
    ):
        vehicleid.load(tmp_path, check_counts=False)
    write(folder / "train_test_split/test_list_800.txt", ["image vehicle", "0000004 5"])
    with pytest.raises(
        ValueError, match=r"test_list_800\.txt, line 1: found 'image vehicle'; expected `<picture> <vehi"
    ):
        vehicleid.load(tmp_path, check_counts=False)


# ---- VERI-Wild


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize("place", ["VERI-Wild", "veriwild/VERI-Wild", "veriwild"])
def test_veriwild_reads_both_forms_of_its_lists_alike(tmp_path, place, released):
    folder = small_veriwild(tmp_path / place, released)
    loaded = veriwild.load(tmp_path, check_counts=False)
    (trial,) = loaded.trials
    assert rows(loaded.train, folder) == [("images/00003/000001.jpg", 3, 1), ("images/00003/000002.jpg", 3, 2)]
    assert rows(trial.query, folder) == [("images/11542/119083.jpg", 11542, 3)]
    assert rows(trial.gallery, folder) == [("images/11542/119084.jpg", 11542, 4)]
    assert (loaded.metric, loaded.variant) == ("reid", {"size": "small"})


def test_veriwild_refuses_what_it_cannot_know(tmp_path):
    folder = small_veriwild(tmp_path / "veriwild", released=False)
    with pytest.raises(ValueError, match="veriwild: found SIZE 'tiny'; expected small, medium, large"):
        veriwild.load(tmp_path, size="tiny")
    with pytest.raises(FileNotFoundError, match=r"test_5000_query\.txt: found no such list"):
        veriwild.load(tmp_path, size="medium")
    info = folder / "train_test_split/vehicle_info.txt"
    lines = info.read_text().splitlines()
    write(info, lines[:-1])
    with pytest.raises(ValueError, match=r"test_3000\.txt: found 1 pictures without a camera, the first 11542/119084"):
        veriwild.load(tmp_path, check_counts=False)
    write(info, lines[1:])
    with pytest.raises(ValueError, match=r"vehicle_info\.txt, line 1: found '00003/000001;.*'; expected a header"):
        veriwild.load(tmp_path, check_counts=False)
    write(folder / "train_test_split/train_list.txt", ["00000/000001"])
    write(info, lines)
    with pytest.raises(
        ValueError, match=r"train_list\.txt, line 1: found '00000/000001'; expected `<vehicle>/<picture>"
    ):
        veriwild.load(tmp_path, check_counts=False)


# ---- all of them


@pytest.mark.parametrize("name", NAMES)
def test_missing_vehicle_set_says_where_to_get_it_and_counts_are_checked(tmp_path, name):
    module = import_module(f"reid.data.datasets.{name}")
    with pytest.raises(FileNotFoundError, match=re.escape(module.CARD.page)):
        module.load(tmp_path)
    assert module.CARD.status == "on request"
    {
        "veri776": lambda: plant(tmp_path / "VeRi", VEHICLES),
        "vehicleid": lambda: small_vehicleid(tmp_path),
        "veriwild": lambda: small_veriwild(tmp_path / "veriwild", released=True),
    }[name]()
    with pytest.raises(ValueError, match=rf"{name}.*: found .*, expected .* DATASETS\.CHECK_COUNTS False"):
        module.load(tmp_path)
