from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from reid import config
from reid.builder import objects
from reid.data import transforms
from reid.data.augment.crop import Crop
from reid.data.augment.erasing import Erasing
from reid.data.augment.flip import Flip
from reid.data.augment.jitter import Jitter
from reid.data.augment.resized_crop import ResizedCrop
from reid.data.transforms import Test, Train

SIZE = (32, 16)
EVERYTHING = (ResizedCrop(SIZE), Flip(), Crop(3), Jitter(prob=0.5), Erasing())
# What INPUT said before augmentations were a list, the list of today, and what 20 pictures came to then.
BEFORE = [
    ({}, "[{NAME: flip}, {NAME: crop, PAD: 10}]", "4887311a24510cea"),
    (
        {"SIZE": [64, 64], "FLIP": 0.0, "PAD": 6},
        "[{NAME: flip, PROB: 0.0}, {NAME: crop, PAD: 6}]",
        "8cd8fe0b571b1b68",
    ),
    (
        {"SIZE": [56, 56], "CROP_SCALE": [0.16, 1.0]},
        "[{NAME: resized_crop, SCALE: [0.16, 1.0]}, flip]",
        "f0d4c5cd991e9cf9",
    ),
    (
        {"SIZE": [64, 32], "INTERPOLATION": "area", "PAD": 4, "COLOR_JITTER": [0.3, 0.3, 0.5, 0.05]},
        "[flip, {NAME: crop, PAD: 4}, {NAME: jitter, SATURATION: 0.5, HUE: 0.05}]",
        "1e7dead6a170194e",
    ),
    (
        {"PAD": 3, "COLOR_JITTER": [0.2, 0.2, 0.2, 0.1], "JITTER_PROB": 0.5, "ERASING": 0.5},
        "[flip, {NAME: crop, PAD: 3}, {NAME: jitter, BRIGHTNESS: 0.2, CONTRAST: 0.2, SATURATION: 0.2, PROB: 0.5}, erasing]",
        "0747c30848b427e5",
    ),
    (
        {"FLIP": 0.3, "CROP_SCALE": [0.2, 0.9], "COLOR_JITTER": [0, 0.4, 0, 0.5], "JITTER_PROB": 0.7, "ERASING": 0.9},
        "[{NAME: resized_crop, SCALE: [0.2, 0.9]}, {NAME: flip, PROB: 0.3}, {NAME: jitter, BRIGHTNESS: 0, CONTRAST: 0.4, "
        "SATURATION: 0, HUE: 0.5, PROB: 0.7}, {NAME: erasing, PROB: 0.9}]",
        "81a31beab42a6f06",
    ),
]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 24, 3)).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area", "nearest"])
def test_both_resize_to_height_and_width(image, interpolation):
    expected = cv2.resize(image, (16, 32), interpolation=transforms.INTERPOLATIONS[interpolation])
    assert np.array_equal(Test(SIZE, interpolation)(image), expected)
    assert np.array_equal(Train(SIZE, interpolation)(image, rng()), expected)


def test_test_crop_cuts_the_middle_of_a_larger_picture(image):
    whole = cv2.resize(image, (20, 40))
    assert np.array_equal(Test(SIZE, crop=0.8)(image), whole[4:36, 2:18])


@pytest.mark.parametrize(("before", "augment", "digest"), BEFORE)
def test_a_list_draws_what_the_keys_before_it_drew(before, augment, digest):
    size = ["INPUT.SIZE", str(before.get("SIZE", list(SIZE)))]
    now = config.load(
        None, [*size, "INPUT.INTERPOLATION", before.get("INTERPOLATION", "bilinear"), "INPUT.AUGMENT", augment]
    )
    for cfg in (now, config.parse(str({"INPUT": {"SIZE": list(SIZE), "FLIP": 0.5, **before}}))):
        transform = objects.train_transform(cfg)
        sha = hashlib.sha256()
        for seed in range(20):
            picture = rng(seed).integers(0, 256, (40 + seed, 24, 3)).astype(np.uint8)
            sha.update(transform(picture, rng((seed, 1, 2))).tobytes())
        assert sha.hexdigest()[:16] == digest


def test_the_default_list_is_flip_and_crop_by_ten():
    steps = objects.train_transform(config.load()).augment
    assert [type(step) for step in steps] == [Flip, Crop]
    assert (steps[0].prob, steps[1].pad) == (0.5, 10)


def test_augmentations_follow_each_other_in_the_order_of_the_list(image):
    straight = Test(SIZE)(image)
    one, other = Train(SIZE, augment=[Crop(3), Flip(1.0)]), Train(SIZE, augment=[Flip(1.0), Crop(3)])
    for seed in range(10):
        moved = Crop(3).apply(straight, one.draw(rng(seed), image.shape[:2])[0])
        assert np.array_equal(one(image, rng(seed)), moved[:, ::-1])
    assert any(not np.array_equal(one(image, rng(seed)), other(image, rng(seed))) for seed in range(10))


def test_the_first_may_take_the_picture_as_it_was_decoded(image):
    train = Train(SIZE, augment=[ResizedCrop(SIZE, (0.3, 0.6)), Flip(0.0)])
    (y, x, h, w), _ = train.draw(rng(5), image.shape[:2])
    assert np.array_equal(train(image, rng(5)), cv2.resize(image[y : y + h, x : x + w], (16, 32)))
    with pytest.raises(ValueError, match="found ResizedCrop behind another augmentation; expected it first"):
        Train(SIZE, augment=[Flip(), ResizedCrop(SIZE)])


def test_equal_generators_give_equal_pictures_and_the_input_stays_as_it_was(image):
    before = image.copy()
    train = Train(SIZE, augment=EVERYTHING)
    for seed in range(10):
        assert np.array_equal(train(image, rng(seed)), train(image, rng(seed)))
        assert np.array_equal(train(image, rng(seed)), train.apply(image, train.draw(rng(seed), image.shape[:2])))
    assert np.array_equal(image, before)
    assert len({train(image, rng(seed)).tobytes() for seed in range(10)}) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (256,)}, "SIZE"),
        ({"size": (256, 0)}, "SIZE"),
        ({"interpolation": "lanczos"}, "bilinear, bicubic, area, nearest"),
    ],
)
def test_values_outside_their_range_are_refused(options, message):
    for transform in (Test, Train):
        with pytest.raises(ValueError, match=message):
            transform(**options)


@pytest.mark.parametrize("crop", [0, 1.1, -0.5])
def test_test_crop_outside_its_range_is_refused(crop):
    with pytest.raises(ValueError, match="CROP"):
        Test(SIZE, crop=crop)
