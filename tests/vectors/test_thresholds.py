"""The threshold of a false match rate against a slow count of pairs, its interval, and where it is kept."""

import itertools

import numpy as np
import pytest
from stores import everything, make

from reid.vectors import calibrate
from reid.vectors.calibrate import Calibration


@pytest.fixture
def store(tmp_path):
    return make(tmp_path / "v", num=200, shard=64)


def counted(store, threshold: float) -> tuple[float, float]:
    """The shares of pairs of different persons, and of one person and two cameras, that reach it; pair by pair."""
    vectors, columns = everything(store)
    false, true = [], []
    for i, j in itertools.combinations(range(len(vectors)), 2):
        reaches = np.float32(vectors[i] @ vectors[j]) >= np.float32(threshold)
        if columns["person"][i] != columns["person"][j]:
            false.append(reaches)
        elif columns["camera"][i] != columns["camera"][j] or not columns["camera"][i]:
            true.append(reaches)
    return float(np.mean(false)), float(np.mean(true))


@pytest.mark.parametrize("fmr", [0.3, 0.05, 0.002])
def test_threshold_lets_no_more_than_the_rate_through_and_no_less_than_it_could(store, fmr):
    (row,) = calibrate.calibrate(store, [fmr], name="drawn")
    columns = everything(store)[1]
    pairs = sum(a != b for a, b in itertools.combinations(columns["person"].tolist(), 2))
    assert (row["pairs"], row["persons"], row["set"], row["fmr"]) == (pairs, 30, "drawn", fmr)
    false, true = counted(store, row["threshold"] + 1e-6)  # another order of additions moves a score by less
    assert false <= fmr
    assert false >= fmr - 3 / pairs
    assert row["tmr"] == pytest.approx(true, abs=0.02)
    assert row["low"] <= row["threshold"] <= row["high"]
    assert row["high"] - row["low"] < 0.5


def test_several_rates_at_once_are_those_of_each_alone(store):
    rows = calibrate.calibrate(store, [0.01, 0.1])
    assert rows[0]["threshold"] > rows[1]["threshold"]
    for fmr, row in zip((0.01, 0.1), rows, strict=True):
        (alone,) = calibrate.calibrate(store, [fmr])
        assert alone["threshold"] == row["threshold"]
    assert rows[0]["set"] == "pictures"


def test_interval_holds_the_threshold_of_a_new_set_most_of_the_time(tmp_path):
    """Sets of other persons of the same kind: the 95% interval of one holds the thresholds of most others."""
    rows = [calibrate.calibrate(make(tmp_path / str(seed), num=200, seed=seed), [0.05])[0] for seed in range(8)]
    held = [one["low"] <= other["threshold"] <= one["high"] for one, other in itertools.permutations(rows, 2)]
    assert np.mean(held) > 0.8


def test_both_sides_of_a_model_whose_sides_differ(tmp_path):
    gallery = make(tmp_path / "g", num=200, side="gallery")
    query = make(tmp_path / "q", num=200, side="query")
    (row,) = calibrate.calibrate(gallery, [0.05], query=query)
    one = make(tmp_path / "v", num=200)
    (expected,) = calibrate.calibrate(one, [0.05])
    # The same pairs twice, in either order, and no picture with itself.
    assert row["pairs"] == 2 * expected["pairs"]
    assert row["threshold"] == pytest.approx(expected["threshold"], abs=1e-6)
    assert row["tmr"] == pytest.approx(expected["tmr"], abs=1e-6)
    assert row["low"] == pytest.approx(expected["low"], abs=1e-6)


def test_cameras_that_are_not_known_keep_no_pair_out(store):
    expected = calibrate.calibrate(store, [0.05])[0]
    for number, shard in list(store.shards()):
        shard.columns["camera"][:] = ""
        store.write(number, shard)
    row = calibrate.calibrate(store, [0.05])[0]
    assert row["threshold"] == expected["threshold"]
    assert row["tmr"] == pytest.approx(counted(store, row["threshold"])[1], abs=0.02)


def test_no_more_rows_are_compared_than_a_number_of_drawn_ones(store, monkeypatch):
    monkeypatch.setattr(calibrate, "MOST", 60)
    row = calibrate.calibrate(store, [0.05])[0]
    assert row["pairs"] < 60 * 59 / 2
    assert row == calibrate.calibrate(store, [0.05])[0]


@pytest.mark.parametrize(
    ("fmrs", "message"),
    [
        ([], "expected one or more rates between 0 and 1"),
        ([0.1, 0.0], r"found \[0.1, 0.0\]; expected one or more rates"),
        ([0.1, 1.0], "expected one or more rates"),
        ([0.1, 1e-5], r"1e-05 needs 1,000,000 pairs of different people, found 15,\d{3}; ask for a larger rate"),
    ],
)
def test_rates_that_cannot_be_measured(store, fmrs, message):
    with pytest.raises(ValueError, match=message):
        calibrate.calibrate(store, fmrs)


def test_too_few_persons_and_a_side_too_many(store, tmp_path):
    for number, shard in list(store.shards()):
        shard.columns["person"][:] = ""
        store.write(number, shard)
    with pytest.raises(ValueError, match=r"found 0 persons in .*; expected 10 or more: give them by a list's column"):
        calibrate.calibrate(store, [0.1])
    with pytest.raises(ValueError, match="expected none, for its sides are one"):
        calibrate.calibrate(store, [0.1], query=store)
    with pytest.raises(ValueError, match=r"found None for .*; expected the query side of the same pictures"):
        calibrate.calibrate(make(tmp_path / "g", side="gallery"), [0.1])


def test_a_rate_without_a_calibration(store):
    with pytest.raises(ValueError, match="is calibrated for none: reid calibrate"):
        calibrate.of(store, 0.1)
    row = Calibration(fmr=0.1, threshold=0.5, low=0.4, high=0.6, tmr=None, set="x", persons=12, pairs=300)
    store.header["calibration"] = [row]
    assert calibrate.of(store, 0.1) is row
    with pytest.raises(ValueError, match=r"is calibrated for 0\.1: reid calibrate"):
        calibrate.of(store, 0.2)
    assert calibrate.told(row, 1000).endswith("x, 12 persons, 300 pairs; a stranger meets about 100.0 of 1,000 rows")
