from __future__ import annotations

import builtins

import h5py
import numpy as np
import pytest
import scipy.io
from person_trees import MARKET_PARTS, counts, market_names, plant, rows, tiny_cuhk03, tiny_market_like

from reid.data import records
from reid.data.datasets import cuhk03

PEOPLE = (843, 440, 77, 58, 49)  # of the five camera pairs, 1,467 together


def load(root, **options):
    return cuhk03.load(root, check_counts=False, **options)


def config(root, boxes, names, **parts):
    """The lists of the new protocol, as their authors write them: names in cells, positions counted from 1."""
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    position = {name: index for index, name in enumerate(names, start=1)}
    lists = {f"{part}_idx": np.array([[position[name]] for name in own]) for part, own in parts.items()}
    scipy.io.savemat(root / f"cuhk03_new_protocol_config_{boxes}.mat", {"filelist": cells, **lists})


def release(root, testsets):
    """cuhk-03.mat with nothing but its test sets: one row a person, pair and number; MATLAB's axes are h5py's reversed."""
    (root / "cuhk03_release").mkdir(exist_ok=True)
    with h5py.File(root / "cuhk03_release" / "cuhk-03.mat", "w") as file:
        cells = file.create_dataset("testsets", (1, len(testsets)), h5py.ref_dtype)
        for number, people in enumerate(testsets):
            table = file.create_dataset(f"#refs#/{number}", data=np.array(people, float).T)
            cells[0, number] = table.ref


# ---- the new protocol


@pytest.mark.parametrize(("boxes", "on_disk"), [("detected", "detected"), ("labelled", "labeled")])
def test_cuhk03_new_protocol_follows_the_lists_of_its_authors(tmp_path, boxes, on_disk):
    root = tiny_cuhk03(tmp_path, on_disk)
    names = sorted(path.name for path in (root / f"images_{on_disk}").iterdir())
    config(root, on_disk, names, train=names[:8], query=[names[8]], gallery=[names[10], names[11], names[15]])
    loaded = load(tmp_path, boxes=boxes)
    assert rows(loaded.train, root / f"images_{on_disk}") == [
        ("1_001_1_01.png", 10_001, 1),
        ("1_001_1_02.png", 10_001, 1),
        ("1_001_2_06.png", 10_001, 2),
        ("1_001_2_07.png", 10_001, 2),
        ("1_002_1_01.png", 10_002, 1),
        ("1_002_1_02.png", 10_002, 1),
        ("1_002_2_06.png", 10_002, 2),
        ("1_002_2_07.png", 10_002, 2),
    ]
    (trial,) = loaded.trials
    assert rows(trial.query, loaded.root) == [("5_001_1_01.png", 50_001, 1)]
    assert rows(trial.gallery, loaded.root) == [
        ("5_001_2_06.png", 50_001, 2),
        ("5_001_2_07.png", 50_001, 2),
        ("5_002_2_07.png", 50_002, 2),
    ]
    assert loaded.variant == {"boxes": boxes, "protocol": "new", "all": False}


@pytest.mark.parametrize("home", ["cuhk03-np", "CUHK03-NP", "cuhk03/cuhk03-np"])
def test_cuhk03_repacked_keeps_its_halves_apart_and_its_person_zero(tmp_path, home):
    root = tiny_market_like(tmp_path / home / "labeled", ".png")
    loaded = load(tmp_path, boxes="labelled")
    assert rows(loaded.train, root)[0] == ("bounding_box_train/0000_c12_0.png", 10_000, 12)
    (trial,) = loaded.trials
    assert rows(trial.query, root) == [("query/0000_c1_0.png", 20_000, 1), ("query/0001_c1_0.png", 20_001, 1)]
    assert counts(load(tmp_path, boxes="labelled", all=True).train) == (4, 8)
    with pytest.raises(FileNotFoundError, match=r"found none of .*cuhk03-np/detected"):
        load(tmp_path)


def test_cuhk03_says_which_listed_pictures_are_missing_and_how_many(tmp_path):
    root = tiny_cuhk03(tmp_path)
    names = ["1_001_1_01.png", "4_001_1_01.png", "4_001_1_02.png"]
    config(root, "detected", names, train=names[:1], query=names[1:], gallery=names)
    with pytest.raises(FileNotFoundError, match=r"found 4 of its 6 pictures missing in .*the first 4_001_1_01"):
        load(tmp_path)


def test_cuhk03_names_a_list_that_is_absent_or_damaged(tmp_path):
    root = tiny_cuhk03(tmp_path)
    file = root / "cuhk03_new_protocol_config_detected.mat"
    with pytest.raises(
        FileNotFoundError, match=r"found no .*config_detected\.mat; expected it beside images_detected/"
    ):
        load(tmp_path)
    for broken in (b"", b"not a .mat file" * 100):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"config_detected\.mat: found no lists that can be read"):
            load(tmp_path)
    scipy.io.savemat(file, {"filelist": np.zeros(1)})
    with pytest.raises(ValueError, match=r"config_detected\.mat: found no lists that can be read"):
        load(tmp_path)


def test_cuhk03_extracted_to_another_format_reads_the_same(tmp_path):
    root = tiny_cuhk03(tmp_path / "a")
    plant(
        tmp_path / "b" / "cuhk03" / "images_detected", (f"{p.stem}.JPG" for p in (root / "images_detected").iterdir())
    )
    one, two = (load(tmp_path / part, all=True).train for part in "ab")
    assert [sample[1:] for sample in one] == [sample[1:] for sample in two]
    plant(root / "images_detected", ["6_001_1_01.png"])
    with pytest.raises(ValueError, match=r"6_001_1_01\.png: found this name"):
        load(tmp_path / "a", all=True)


# ---- the classic protocol


def test_cuhk03_classic_gives_a_trial_a_test_set_with_one_picture_a_person(tmp_path):
    root = tiny_cuhk03(tmp_path)
    release(root, [[(1, 1), (5, 2)], [(5, 1), (5, 2)]])
    loaded = load(tmp_path, protocol="classic")
    assert loaded.train == []
    assert loaded.variant == {"boxes": "detected", "protocol": "classic", "split": 0, "all": False}
    assert [rows(trial.query, loaded.root) for trial in loaded.trials] == [
        [
            (f"{pair}_{person:03d}_1_{number:02d}.png", pair * 10_000 + person, 1)
            for pair, person in people
            for number in (1, 2)
        ]
        for people in ([(1, 1), (5, 2)], [(5, 1), (5, 2)])
    ]
    assert [rows(trial.gallery, loaded.root) for trial in loaded.trials] == [
        [("1_001_2_07.png", 10_001, 2), ("5_002_2_07.png", 50_002, 2)],
        [("5_001_2_06.png", 50_001, 2), ("5_002_2_06.png", 50_002, 2)],
    ]


def test_cuhk03_classic_trains_on_whom_its_one_trial_does_not_search(tmp_path):
    root = tiny_cuhk03(tmp_path)
    release(root, [[(1, 1), (5, 2)], [(5, 1), (5, 2)]])
    loaded = load(tmp_path, protocol="classic", split=2)
    assert loaded.variant["split"] == 2
    assert {sample.pid for sample in loaded.train} == {10_001, 10_002}
    assert loaded.trials == load(tmp_path, protocol="classic").trials[1:]
    with pytest.raises(ValueError, match="SPLIT 3; expected 0 to 2"):
        load(tmp_path, protocol="classic", split=3)


def test_cuhk03_classic_says_what_it_lacks(tmp_path, monkeypatch):
    root = tiny_cuhk03(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"found no .*cuhk-03\.mat"):
        load(tmp_path, protocol="classic")
    release(root, [[(1, 1)]])
    inside = builtins.__import__

    def without_h5py(name, *arguments, **options):
        if name == "h5py":
            raise ImportError(name)
        return inside(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    with pytest.raises(ImportError, match="the classic protocol needs h5py: pip install h5py"):
        load(tmp_path, protocol="classic")


def test_cuhk03_with_its_pictures_still_in_the_release_says_so(tmp_path):
    (tmp_path / "cuhk03").mkdir()
    release(tmp_path / "cuhk03", [[(1, 1)]])
    with pytest.raises(FileNotFoundError, match=r"reid convert cuhk03` takes them out of cuhk03_release/cuhk-03\.mat"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": "labeled"}, "BOXES 'labeled'; expected detected or labelled"),
        ({"protocol": "old"}, "PROTOCOL 'old'; expected new or classic"),
        ({"split": 1}, "SPLIT 1 with PROTOCOL new"),
        ({"split": -1, "protocol": "classic"}, "SPLIT -1"),
    ],
)
def test_cuhk03_options_that_do_not_fit_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **options)


# ---- full size


def pictures(people, total):
    """`total` names of extracted pictures, shared out among `people`, views in turn."""
    rounds = [divmod(i, len(people)) for i in range(total)]
    return [f"{people[k][0]}_{people[k][1]:03d}_{1 + turn % 2}_{turn + 1:02d}.png" for turn, k in rounds]


@pytest.mark.parametrize("boxes", ["detected", "labelled"])
def test_cuhk03_at_full_size_has_the_published_counts_under_every_protocol(tmp_path, boxes):
    on_disk, sizes = cuhk03.BOXES[boxes], cuhk03.COUNTS[boxes]
    people = [(pair, person) for pair, ids in enumerate(PEOPLE, start=1) for person in range(1, ids + 1)]
    train, test = pictures(people[:767], sizes["train images"]), pictures(people[767:], 1_400 + sizes["gallery images"])
    root = plant(tmp_path / "cuhk03" / f"images_{on_disk}", train + test).parent
    config(root, on_disk, train + test, train=train, query=test[:1_400], gallery=test[1_400:])
    release(root, [[(1, number + k) for k in range(1, 101)] for number in range(20)])

    total = {"detected": 14_097, "labelled": 14_096}[boxes]
    assert counts(cuhk03.load(tmp_path, boxes=boxes, all=True).train) == (1_467, total)
    new = cuhk03.load(tmp_path, boxes=boxes)
    assert counts(new.train) == (767, sizes["train images"])
    assert [(len(trial.query), len(trial.gallery)) for trial in new.trials] == [(1_400, sizes["gallery images"])]
    classic = cuhk03.load(tmp_path, boxes=boxes, protocol="classic")
    assert [(len({s.pid for s in trial.query}), len(trial.gallery)) for trial in classic.trials] == [(100, 100)] * 20
    assert counts(cuhk03.load(tmp_path, boxes=boxes, protocol="classic", split=20).train)[0] == 1_367

    release(root, [[(1, k) for k in range(1, 100)]] * 20)
    with pytest.raises(ValueError, match="found 99 test ids of split 1, expected 100"):
        cuhk03.load(tmp_path, boxes=boxes, protocol="classic")
    (root / f"images_{on_disk}" / train[0]).unlink()
    with pytest.raises(ValueError, match=f"cuhk03, {boxes}: found {total - 1:,} images, expected {total:,}"):
        cuhk03.load(tmp_path, boxes=boxes, all=True)


def test_cuhk03_repacked_at_full_size_has_the_published_counts(tmp_path):
    root = tmp_path / "cuhk03-np" / "detected"
    for part, (ids, total) in zip(MARKET_PARTS, ((767, 7_365), (700, 1_400), (700, 5_332)), strict=True):
        plant(root, market_names(part, 0, ids, total, 2, ".png"))
    assert repr(cuhk03.load(tmp_path)) == "<cuhk03 train 767 ids 7,365 imgs 2 cams, 1,400 queries in 5,332>"
    assert counts(cuhk03.load(tmp_path, all=True).train) == (1_467, 14_097)
    records.images(root / "query")[0].unlink()
    with pytest.raises(ValueError, match="cuhk03, detected: found 1,399 query images, expected 1,400"):
        cuhk03.load(tmp_path)
