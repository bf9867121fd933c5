from __future__ import annotations

import pytest
from person_trees import MARKET_PARTS, counts, market_names, plant, rows

from reid.data import records
from reid.data.datasets import dukemtmc


def full(root):
    sizes = ((1, 702, 16_522), (1_001, 702, 2_228), (1_001, 1_110, 17_661))
    for part, (first, ids, total) in zip(MARKET_PARTS, sizes, strict=True):
        plant(root, market_names(part, first, ids, total, 8))
    return root


@pytest.mark.parametrize("home", ["DukeMTMC-reID", "dukemtmc/DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID"])
def test_dukemtmc_reads_its_three_folders(tmp_path, home):
    names = [f"{part}/000{pid}_c{pid + 2}_f0046985.jpg" for pid, part in enumerate(MARKET_PARTS, start=4)]
    root = plant(tmp_path / home, [*names, "bounding_box_test/0009_c8_f0000001.JPG", "query/._0009_c8_f1.jpg"])
    loaded = dukemtmc.load(tmp_path, check_counts=False)
    assert rows(loaded.train, root) == [("bounding_box_train/0004_c6_f0046985.jpg", 4, 6)]
    (trial,) = loaded.trials
    assert rows(trial.query, root) == [("query/0005_c7_f0046985.jpg", 5, 7)]
    assert rows(trial.gallery, root) == [
        ("bounding_box_test/0006_c8_f0046985.jpg", 6, 8),
        ("bounding_box_test/0009_c8_f0000001.JPG", 9, 8),
    ]
    assert loaded.variant == {"all": False}
    # The 408 of the gallery alone are people with pids of their own, so they are trained on.
    everybody = dukemtmc.load(tmp_path, check_counts=False, all=True)
    assert sorted(sample.pid for sample in everybody.train) == [4, 5, 6, 9]
    assert everybody.variant == {"all": True}


def test_dukemtmc_is_withdrawn_and_says_since_when():
    assert dukemtmc.CARD.status == "withdrawn"
    with pytest.raises(ValueError, match="25 April 2019"):
        records.refuse_withdrawn("dukemtmc", dukemtmc.CARD, allow=False)
    assert "13 June 2019" in records.refuse_withdrawn("dukemtmc", dukemtmc.CARD, allow=True)


def test_dukemtmc_without_a_folder_is_not_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found none of .*section dukemtmc \(withdrawn\)"):
        dukemtmc.load(tmp_path)
    plant(tmp_path / "DukeMTMC-reID", ["bounding_box_train/0001_c1_f1.jpg"])
    with pytest.raises(FileNotFoundError, match="query: found no such folder"):
        dukemtmc.load(tmp_path)


def test_dukemtmc_at_full_size_has_the_published_counts(tmp_path):
    root = full(tmp_path / "DukeMTMC-reID")
    loaded = dukemtmc.load(tmp_path)
    assert repr(loaded) == "<dukemtmc train 702 ids 16,522 imgs 8 cams, 2,228 queries in 17,661>"
    assert counts(dukemtmc.load(tmp_path, all=True).train) == (1_812, 36_411)
    records.images(root / "query")[0].unlink()
    with pytest.raises(ValueError, match="dukemtmc: found 2,227 query images, expected 2,228"):
        dukemtmc.load(tmp_path)
