"""The shift of drawn pictures: fixed by its seeds, of the stated size, and no part of a set that does not ask for it."""

import cv2
import numpy as np
import pytest

from reid.data.datasets import walkers
from reid.data.walkers import shift
from reid.data.walkers.trees import Tree

FLAT = np.full((128, 64, 3), 100, np.uint8)


def test_equal_seeds_give_equal_pictures_and_others_others():
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    one = shift.apply(image, (0, 1), (0, 2))
    assert one.shape == image.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, shift.apply(image, (0, 1), (0, 2)))
    assert not np.array_equal(one, shift.apply(image, (0, 3), (0, 2)))
    assert not np.array_equal(one, shift.apply(image, (0, 1), (0, 4)))


def test_cast_of_a_camera_lies_beyond_the_sources():
    for camera in range(40):
        red, _, blue = (shift.apply(FLAT, (camera,), (0,)) / 100).mean((0, 1))
        assert 2 * 0.34 < abs(np.log(red / blue)) < 2 * 0.56


def test_a_quarter_of_the_cameras_sees_no_colour():
    colours = FLAT.copy()
    colours[:64] = (200, 30, 90)
    grey = []
    for camera in range(400):
        image = shift.apply(colours, (camera,), (0,)).astype(float)
        gains = image[100, 32] / image[100, 32, 1]
        grey.append(np.abs(image[20, 32] / gains - image[20, 32, 1]).max() < 6)
    assert np.mean(grey) == pytest.approx(0.25, abs=0.06)


def test_pictures_are_cropped_and_blurred():
    image = FLAT.copy()
    image[62:66] = 255  # a line across
    for picture in range(20):
        line = shift.apply(image, (5,), (picture,)).max(axis=2).max(axis=1)
        sharp = (line > line.max() - 3).sum()
        assert line.max() < 255 * np.exp(0.56)
        assert sharp < 12
    rows = [int(cv2.cvtColor(shift.apply(image, (5,), (p,)), cv2.COLOR_RGB2GRAY).mean(1).argmax()) for p in range(20)]
    assert np.std(rows) > 2  # the crop moves it


def test_a_set_that_is_not_shifted_keeps_its_stamp_and_name(tmp_path):
    plain, shifted = Tree("fair", 2, 4), Tree("fair", 2, 4, shifted=True)
    assert "shifted" not in plain.stamp
    assert shifted.stamp["shifted"] is True
    assert shifted.name == f"{plain.name}_shifted"
    small = {"domain": "fair", "ids": 2, "pictures": 4, "size": [32, 16]}
    one, other = walkers.load(tmp_path, **small), walkers.load(tmp_path, **small, shifted=True)
    assert (one.name, other.name) == ("walkers-fair", "walkers-fair-shifted")
    assert "shifted" not in one.variant
    assert other.variant["shifted"] is True
    pictures = [cv2.imread(str(dataset.trials[0].query[0].path)) for dataset in (one, other)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5
