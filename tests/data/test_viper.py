import pytest
from small import check_apart, everything, plant, rows, sizes
from trees import grow

from reid.data import records
from reid.data.datasets import viper

# The numbers VIPeR does not have, so that 632 of 000 to 873 are left.
GAPS = {
    *range(247, 300),
    *range(396, 500),
    *range(742, 800),
    349,
    352,
    356,
    363,
    530,
    559,
    586,
    602,
    644,
    663,
    665,
    668,
}
GAPS |= {681, 688, 691, 694, 695, 704, 710, 712, 718, 719, 727, 730, 739, 810, 857}
PEOPLE = [number for number in range(874) if number not in GAPS]
SMALL = [
    *(("cam_a/000_45.bmp", 1, 1), ("cam_a/002_0.bmp", 3, 1)),
    *(("cam_b/000_90.bmp", 1, 2), ("cam_b/002_180.bmp", 3, 2)),
]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """VIPeR at full size; cam_b's angle differs, so that sorting by name must not decide who is whose mate."""
    root = tmp_path_factory.mktemp("viper")
    grow(root / "VIPeR", *(f"cam_a/{n:03d}_{n % 3 * 45}.bmp" for n in PEOPLE))
    grow(root / "VIPeR", *(f"cam_b/{n:03d}_{90 + n % 3 * 45}.bmp" for n in PEOPLE))
    return root


@pytest.mark.parametrize("place", ["viper/VIPeR", "VIPeR", "viper"])
def test_both_nestings_read_the_same(tmp_path, place):
    folder = plant(tmp_path, "viper", at=place)
    assert rows(viper.load(tmp_path, check_counts=False, all=True).train, folder) == SMALL


def test_full_size_is_ten_searches_of_316_from_cam_a_in_cam_b(full):
    loaded = viper.load(full)
    assert loaded.notes == ()
    assert loaded.train == []
    assert len(loaded.trials) == 10
    assert sizes(loaded.trials) == {(316, 316)}
    for trial in loaded.trials:
        check_apart(trial)
        assert {sample.camid for sample in trial.query} == {1}
        assert {sample.camid for sample in trial.gallery} == {2}
    assert min(sample.pid for sample in everything(loaded)) > 0  # person 000 is somebody, not a distractor


def test_both_directions_follow_each_other(full):
    one, both = viper.load(full), viper.load(full, both_directions=True)
    assert both.trials[::2] == one.trials
    for forth, back in zip(both.trials[::2], both.trials[1::2], strict=True):
        assert (back.query, back.gallery) == (forth.gallery, forth.query)
    assert one.variant["both_directions"] is False
    assert both.variant == one.variant | {"both_directions": True}


def test_all_trains_on_everybody_and_scores_nobody(full):
    loaded = viper.load(full, all=True)
    assert repr(loaded) == "<viper train 632 ids 1,264 imgs 2 cams>"
    assert loaded.variant == {"all": True}


def test_one_picture_missing_is_said_with_both_numbers_and_moves_nobody_elses_split(full, tmp_path):
    for camera in ("cam_a", "cam_b"):
        for path in records.images(full / "VIPeR" / camera):
            if path.name != "005_180.bmp":
                (tmp_path / "viper" / camera).mkdir(parents=True, exist_ok=True)
                (tmp_path / "viper" / camera / path.name).hardlink_to(path)
    with pytest.raises(ValueError, match="viper: found 631 cam_b images, expected 632"):
        viper.load(tmp_path)
    loaded = viper.load(tmp_path, check_counts=False)
    assert loaded.notes == ("viper: found 631 cam_b images, expected 632",)
    pids = [[sample.pid for sample in trial.query] for trial in loaded.trials]
    assert pids == [[sample.pid for sample in trial.query] for trial in viper.load(full).trials]


def test_a_camera_missing_is_named(tmp_path):
    grow(tmp_path / "VIPeR", "cam_a/000_45.bmp")
    with pytest.raises(FileNotFoundError, match="cam_b: found no such folder"):
        viper.load(tmp_path)
