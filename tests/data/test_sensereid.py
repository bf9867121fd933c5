import pytest
from small import plant, rows, sizes
from trees import grow

from reid.data.datasets import sensereid

QUERY = [("0000_0.jpg", 1, 0), ("0003_0.jpg", 4, 0)]
GALLERY = [("test_gallery/0000_1.jpg", 1, 1), ("test_gallery/0009_1.jpg", 10, 1)]


@pytest.mark.parametrize("place", ["sensereid/SenseReID", "SenseReID", "sensereid"])
@pytest.mark.parametrize("probe", ["test_probe", "test_prob"])
def test_both_nestings_and_both_spellings_read_the_same(tmp_path, place, probe):
    folder = plant(tmp_path, "sensereid", at=place)
    (folder / "test_probe").rename(folder / probe)
    loaded = sensereid.load(tmp_path, check_counts=False)
    query = [(f"{probe}/{name}", pid, camid) for name, pid, camid in QUERY]
    (trial,) = loaded.trials
    assert loaded.train == []
    assert rows(trial.query, folder) == query
    assert rows(trial.gallery, folder) == GALLERY
    whole = sensereid.load(tmp_path, check_counts=False, all=True)
    assert rows(whole.train, folder) == query + GALLERY
    assert whole.trials == []
    assert (loaded.variant, whole.variant) == ({"all": False}, {"all": True})


@pytest.fixture
def full(tmp_path):
    folder = tmp_path / "SenseReID"
    grow(folder, *(f"test_probe/{i % 522:04d}_{i // 522}.jpg" for i in range(1_040)))
    grow(folder, *(f"test_gallery/{i % 1_717:04d}_{2 + i // 1_717}.jpg" for i in range(3_388)))
    return tmp_path


def test_full_size_has_the_published_counts(full):
    loaded = sensereid.load(full)
    assert loaded.notes == ()
    assert sizes(loaded.trials) == {(1_040, 3_388)}


def test_one_picture_missing_is_said_with_both_numbers(full):
    (full / "SenseReID" / "test_probe" / "0001_0.jpg").unlink()
    with pytest.raises(ValueError, match="sensereid: found 1,039 query images, expected 1,040"):
        sensereid.load(full)
    assert len(sensereid.load(full, check_counts=False).notes) == 1


def test_no_probe_folder_is_named(tmp_path):
    grow(tmp_path / "SenseReID", "test_gallery/0001_1.jpg")
    with pytest.raises(FileNotFoundError, match="test_probe: found no such folder"):
        sensereid.load(tmp_path)
