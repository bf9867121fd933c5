from __future__ import annotations

import pytest
from person_trees import plant, rows
from trees import market

from reid.data.datasets import market1501

NAMES = (
    "bounding_box_train/0002_c1s1_1_00.jpg",
    "query/0003_c2s1_1_00.jpg",
    "bounding_box_test/0003_c1s1_1_00.jpg",
    "bounding_box_test/0000_c1s1_2_00.jpg",
    "bounding_box_test/-1_c1s1_3_00.jpg",
    "images/0000_c4s1_1_00.jpg",
    "images/0000_c6s2_2_00.jpg",
    "images/-1_c6s2_3_00.jpg",
)


def load(root, **options):
    return market1501.load(root, check_counts=False, **options)


@pytest.mark.parametrize(
    ("distractors", "searched"),
    [
        ("none", []),
        ("published", [("bounding_box_test/0000_c1s1_2_00.jpg", 0, 1)]),
        (
            "500k",
            [
                ("bounding_box_test/0000_c1s1_2_00.jpg", 0, 1),
                ("images/0000_c4s1_1_00.jpg", 0, 4),
                ("images/0000_c6s2_2_00.jpg", 0, 6),
            ],
        ),
    ],
)
def test_market1501_searches_among_the_distractors_that_were_chosen(tmp_path, distractors, searched):
    root = plant(tmp_path / "Market-1501-v15.09.15", NAMES)
    loaded = load(tmp_path, distractors=distractors)
    assert loaded.variant == {"all": False, "distractors": distractors}
    (trial,) = loaded.trials
    assert sorted(rows(trial.gallery, root)) == sorted([*searched, ("bounding_box_test/0003_c1s1_1_00.jpg", 3, 1)])
    assert rows(loaded.train, root) == [("bounding_box_train/0002_c1s1_1_00.jpg", 2, 1)]
    assert rows(trial.query, root) == [("query/0003_c2s1_1_00.jpg", 3, 2)]
    assert [sample.pid for sample in load(tmp_path, distractors=distractors, all=True).train] == [2, 3, 3]


def test_market1501_distractors_must_be_there_and_nobody(tmp_path):
    root = plant(tmp_path / "Market-1501-v15.09.15", NAMES[:5])
    with pytest.raises(FileNotFoundError, match="images: found no such folder"):
        load(tmp_path, distractors="500k")
    plant(root, ["images/0007_c1s1_1_00.jpg"])
    with pytest.raises(ValueError, match=r"0007_c1s1_1_00\.jpg: found the person 7; expected pid 0"):
        load(tmp_path, distractors="500k")
    with pytest.raises(ValueError, match="DISTRACTORS '0000'; expected published, none, 500k"):
        load(tmp_path, distractors="0000")


def test_market1501_counts_its_distractors(tmp_path, monkeypatch):
    root = plant(tmp_path / "Market-1501-v15.09.15", NAMES)
    for name in ("COUNTS", "COUNTS_ALL"):
        monkeypatch.setattr(market1501, name, {})
    with pytest.raises(ValueError, match="market1501: found 2 distractors in images/, expected 500,000"):
        market1501.load(tmp_path, distractors="500k")
    (note,) = load(tmp_path, distractors="500k").notes
    assert note == "market1501: found 2 distractors in images/, expected 500,000"
    monkeypatch.setattr(market1501, "COUNTS_500K", {"distractors in images/": 3})
    plant(root, ["images/0000_c1s1_last.jpg"])
    assert market1501.load(tmp_path, distractors="500k").notes == ()


def test_market1501_at_full_size_without_its_distractors(tmp_path):
    market(tmp_path / "Market-1501-v15.09.15")
    assert repr(market1501.load(tmp_path, distractors="none")).endswith("3,368 queries in 13,115>")
