import pytest
from small import check_apart, partitions, plant, rows, sizes
from trees import grow

from reid.data.datasets import grid

SMALL = [
    *(("probe/0001_1_25004_89.jpeg", 1, 1), ("probe/0250_5_1_2.jpeg", 250, 5)),
    *(("gallery/0001_2_25100_90.jpeg", 1, 2), ("gallery/0250_6_5_6.jpeg", 250, 6)),
]


@pytest.fixture
def full(tmp_path):
    folder = tmp_path / "grid" / "underground_reid"
    grow(folder, *(f"probe/{n:04d}_{1 + n % 4}_{n}_89_87.jpeg" for n in range(1, 251)))
    grow(folder, *(f"gallery/{n:04d}_{5 + n % 4}_{n}_89_87.jpeg" for n in range(1, 251)))
    grow(folder, *(f"gallery/0000_{1 + n % 8}_{n}_1_2.jpeg" for n in range(775)))
    partitions(folder)
    return tmp_path


@pytest.mark.parametrize("place", ["underground_reid", "grid/underground_reid", "GRID", "Grid"])
def test_both_nestings_read_the_same_and_distractors_are_not_trained_on(tmp_path, place):
    folder = plant(tmp_path, "grid", at=place)
    assert rows(grid.load(tmp_path, check_counts=False, all=True).train, folder) == SMALL


def test_full_size_is_ten_official_searches_of_125_in_900(full):
    loaded = grid.load(full)
    assert loaded.notes == ()
    assert loaded.train == []
    assert len(loaded.trials) == 10
    assert sizes(loaded.trials) == {(125, 900)}
    for i, trial in enumerate(loaded.trials):
        check_apart(trial)
        assert [sample.pid for sample in trial.query] == [n for n in range(1, 251) if not i < n <= i + 125]
        assert sum(sample.pid == 0 for sample in trial.gallery) == 775


def test_hash_of_the_partitions_is_in_the_variant(full):
    before = grid.load(full).variant
    folder = full / "grid" / "underground_reid"
    partitions(folder)  # a file of another date, the same partitions
    assert grid.load(full).variant == before
    partitions(folder, count=11)
    mat = folder / "features_and_partitions.mat"
    with pytest.raises(ValueError, match=rf"{mat.name}: found partitions of .*; expected 10 of 125"):
        grid.load(full)
    assert before.keys() == {"all", "splits"}


def test_all_trains_on_the_250_pairs(full):
    loaded = grid.load(full, all=True)
    assert repr(loaded) == "<grid train 250 ids 500 imgs 8 cams>"
    assert loaded.variant == {"all": True}


def test_one_distractor_missing_is_said_with_both_numbers(full):
    (full / "grid" / "underground_reid" / "gallery" / "0000_1_0_1_2.jpeg").unlink()
    line = "grid: found 1,024 gallery images, expected 1,025; found 774 distractors, expected 775"
    with pytest.raises(ValueError, match=line):
        grid.load(full)
    loaded = grid.load(full, check_counts=False)
    assert loaded.notes == (line,)
    assert sizes(loaded.trials) == {(125, 899)}


@pytest.mark.parametrize("size", [124, 126])
def test_partitions_of_another_size_are_refused(full, size):
    partitions(full / "grid" / "underground_reid", size=size)
    with pytest.raises(ValueError, match=f"found partitions of .*{size}.*; expected 10 of 125"):
        grid.load(full)


def test_partitions_missing_or_damaged_are_named(full):
    mat = full / "grid" / "underground_reid" / "features_and_partitions.mat"
    mat.write_bytes(mat.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"features_and_partitions\.mat: found no partitions"):
        grid.load(full)
    mat.unlink()
    with pytest.raises(FileNotFoundError, match=r"found no .*features_and_partitions\.mat; expected"):
        grid.load(full)
