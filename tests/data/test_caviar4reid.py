import pytest
from small import plant, rows

from reid.data.datasets import caviar4reid

SMALL = [("0001001.jpg", 1, None), ("0001002.jpg", 1, None), ("0072005.jpg", 72, None)]


@pytest.mark.parametrize("place", ["CAVIARa", "CAVIAR4REID/CAVIARa", "caviar4reid/CAVIARa"])
def test_both_nestings_read_the_same_and_nothing_is_scored(tmp_path, place):
    folder = plant(tmp_path, "caviar4reid", at=place)
    loaded = caviar4reid.load(tmp_path)
    assert rows(loaded.train, folder) == SMALL
    assert loaded.trials == []
    assert repr(loaded) == "<caviar4reid train 2 ids 3 imgs no cams>"
