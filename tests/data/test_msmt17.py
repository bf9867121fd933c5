from __future__ import annotations

import shutil
import time

import pytest
from person_trees import (
    MARKET_PARTS,
    counts,
    listed,
    market_names,
    msmt17_names,
    plant,
    rows,
    tiny_market_like,
    tiny_msmt17,
)

from reid.data import looks, records
from reid.data.datasets import msmt17

FOLDERS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}


def load(root, **options):
    return msmt17.load(root, check_counts=False, **options)


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("nested", ["", "msmt17"])
def test_msmt17_reads_its_lists_and_keeps_the_halves_apart(tmp_path, version, nested):
    root = tiny_msmt17(tmp_path / nested, version)
    train, test = FOLDERS[version]
    loaded = load(tmp_path)
    assert loaded.variant == {"version": version.lower(), "lists": "train+val", "all": False}
    assert loaded.root == root
    assert rows(loaded.train, root) == [
        (f"{train}/0000/0000_000000_01_0303morning_0000_0.jpg", 10_000, 1),
        (f"{train}/0000/0000_000002_02_0303morning_0002_0.jpg", 10_000, 2),
        (f"{train}/0000/0000_000004_03_0303morning_0004_0.jpg", 10_000, 3),
        (f"{train}/0001/0001_000001_01_0303morning_0001_0.jpg", 10_001, 1),
        (f"{train}/0001/0001_000003_02_0303morning_0003_0.jpg", 10_001, 2),
        (f"{train}/0001/0001_000005_03_0303morning_0005_0.jpg", 10_001, 3),
    ]
    (trial,) = loaded.trials
    assert rows(trial.query, root) == [
        (f"{test}/0000/0000_000002_02_0303morning_0002_0.jpg", 20_000, 2),
        (f"{test}/0001/0001_000001_01_0303morning_0001_0.jpg", 20_001, 1),
    ]
    assert rows(trial.gallery, root) == [
        (f"{test}/0000/0000_000004_03_0303morning_0004_0.jpg", 20_000, 3),
        (f"{test}/0001/0001_000003_02_0303morning_0003_0.jpg", 20_001, 2),
    ]


def test_msmt17_trains_on_one_list_on_both_or_on_everybody(tmp_path):
    tiny_msmt17(tmp_path)
    alone = load(tmp_path, lists="train")
    assert counts(alone.train) == (2, 4)
    assert alone.variant["lists"] == "train"
    assert alone.notes == load(tmp_path).notes  # what is on disk is compared, not what was chosen
    everybody = load(tmp_path, all=True)
    assert counts(everybody.train) == (4, 10)
    assert everybody.trials == []
    assert everybody.variant == {"version": "v1", "all": True}


def test_msmt17_repacked_keeps_its_two_digit_cameras_and_its_person_zero(tmp_path):
    root = tiny_market_like(tmp_path / "MSMT17")
    loaded = load(tmp_path)
    assert loaded.variant == {"version": "repacked", "lists": "train+val", "all": False}
    assert rows(loaded.train, root) == [
        ("bounding_box_train/0000_c12_0.jpg", 10_000, 12),
        ("bounding_box_train/0000_c1_0.jpg", 10_000, 1),
        ("bounding_box_train/0001_c12_0.jpg", 10_001, 12),
        ("bounding_box_train/0001_c1_0.jpg", 10_001, 1),
    ]
    (trial,) = loaded.trials
    assert rows(trial.query, root) == [("query/0000_c1_0.jpg", 20_000, 1), ("query/0001_c1_0.jpg", 20_001, 1)]
    assert rows(trial.gallery, root)[0] == ("bounding_box_test/0000_c12_0.jpg", 20_000, 12)
    assert counts(load(tmp_path, all=True, lists="train").train) == (4, 8)
    with pytest.raises(ValueError, match="both lists are one folder"):
        load(tmp_path, lists="train")
    plant(root / "query", ["10000_c1_0.jpg"])
    with pytest.raises(ValueError, match=r"10000_c1_0\.jpg: found the person 10000"):
        load(tmp_path)


def test_msmt17_in_two_versions_must_be_told_which(tmp_path):
    tiny_msmt17(tmp_path, "V1")
    tiny_msmt17(tmp_path, "V2")
    with pytest.raises(ValueError, match=r"found v1 in .*MSMT17_V1, v2 in .*MSMT17_V2; expected one: .* VERSION"):
        load(tmp_path)
    assert load(tmp_path, version="v1").variant["version"] == "v1"
    assert load(tmp_path, version="v2").variant["version"] == "v2"
    with pytest.raises(FileNotFoundError, match="MSMT17/bounding_box_train"):
        load(tmp_path, version="repacked")


def test_msmt17_is_found_whatever_its_folders_are_called(tmp_path):
    awkward = tmp_path / "0001_c1 später 人"
    root = tiny_msmt17(tmp_path / "elsewhere")
    awkward.mkdir()
    (awkward / "MSMT17_V1").symlink_to(root, target_is_directory=True)
    assert [sample[1:] for sample in load(awkward).train] == [sample[1:] for sample in load(root.parent).train]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_000_01_a.jpg zero", r"list_val\.txt, line 3: found '0000/0000_000_01_a\.jpg zero'"),
        ("0000/0000_000_01_a.jpg", r"line 3"),
        ("0000/person.jpg 0", r"line 3"),
        ("0000/0000_000_01_a.jpg 10000", r"line 3"),
        ("../../0000_000_01_a.jpg 0", "stays below"),
        ("/etc/0000_000_01_a.jpg 0", "stays below"),
    ],
)
def test_msmt17_names_a_line_that_is_none_of_a_list(tmp_path, line, message):
    with (tiny_msmt17(tmp_path) / "list_val.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_msmt17_says_which_listed_pictures_are_missing_and_how_many(tmp_path):
    root = tiny_msmt17(tmp_path)
    shutil.rmtree(root / "test" / "0001")
    with pytest.raises(
        FileNotFoundError, match=r"list_query\.txt: found 1 of its 2 pictures missing in .*test, the first 0001/0001_"
    ):
        load(tmp_path)
    (root / "list_gallery.txt").unlink()
    (root / "list_query.txt").write_text("\n")
    with pytest.raises(FileNotFoundError, match=r"found no .*list_gallery\.txt"):
        load(tmp_path)


def test_msmt17_options_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match="VERSION 'v3'"):
        load(tmp_path, version="v3")
    with pytest.raises(ValueError, match="LISTS 'val'"):
        load(tmp_path, lists="val")
    with pytest.raises(FileNotFoundError, match=r"found none of .*MSMT17_V1/train.*section msmt17 \(on request\)"):
        load(tmp_path)


# ---- full size


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    root = tmp_path_factory.mktemp("msmt17") / "MSMT17_V2"
    train = msmt17_names(1_041, 32_621)
    listed(root, "mask_train_v2", {"train": train[:30_000], "val": train[30_000:]})
    lists = {"query": msmt17_names(3_060, 11_659), "gallery": msmt17_names(3_060, 82_161, start=11_659)}
    return listed(root, "mask_test_v2", lists).parent


@pytest.mark.slow
def test_msmt17_at_full_size_is_listed_and_quickly_checked_in_three_seconds(full):
    start = time.process_time()
    loaded = msmt17.load(full)
    (trial,) = loaded.trials
    assert looks.broken([*loaded.train, *trial.query, *trial.gallery]) == []
    assert time.process_time() - start < 3
    assert repr(loaded) == "<msmt17 train 1,041 ids 32,621 imgs 15 cams, 11,659 queries in 82,161>"
    assert loaded.notes == ()
    everybody = msmt17.load(full, all=True)
    assert counts(everybody.train) == (4_101, 126_441)
    assert counts(msmt17.load(full, lists="train").train)[1] == 30_000
    with (full / "MSMT17_V2" / "list_val.txt").open("a") as file:
        file.write(f"{msmt17_names(1, 1)[0]} 0\n")
    with pytest.raises(ValueError, match="found 32,622 train images, expected 32,621"):
        msmt17.load(full)


@pytest.mark.slow
def test_msmt17_repacked_at_full_size_has_the_published_counts(tmp_path):
    sizes = ((1_041, 32_621), (3_060, 11_659), (3_060, 82_161))
    for part, (ids, total) in zip(MARKET_PARTS, sizes, strict=True):
        plant(tmp_path / "msmt17", market_names(part, 0, ids, total, 15))
    loaded = msmt17.load(tmp_path)
    assert repr(loaded) == "<msmt17 train 1,041 ids 32,621 imgs 15 cams, 11,659 queries in 82,161>"
    assert counts(msmt17.load(tmp_path, all=True).train) == (4_101, 126_441)
    records.images(tmp_path / "msmt17" / "query")[0].unlink()
    with pytest.raises(ValueError, match="msmt17: found 11,658 query images, expected 11,659"):
        msmt17.load(tmp_path)
