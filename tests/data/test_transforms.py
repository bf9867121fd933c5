from __future__ import annotations

import cv2
import numpy as np
import pytest

from reid.data import transforms
from reid.data.transforms import Test, Train

SIZE = (32, 16)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 24, 3)).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def plain(**options):
    """Train with every draw off but those asked for."""
    return Train(SIZE, **({"flip": 0.0, "pad": 0} | options))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area", "nearest"])
def test_both_resize_to_height_and_width(image, interpolation):
    expected = cv2.resize(image, (16, 32), interpolation=transforms.INTERPOLATIONS[interpolation])
    assert np.array_equal(Test(SIZE, interpolation)(image), expected)
    assert np.array_equal(plain(interpolation=interpolation)(image, rng()), expected)


def test_test_crop_cuts_the_middle_of_a_larger_picture(image):
    whole = cv2.resize(image, (20, 40))
    assert np.array_equal(Test(SIZE, crop=0.8)(image), whole[4:36, 2:18])


def test_flip_mirrors_left_and_right_as_often_as_asked(image):
    straight = Test(SIZE)(image)
    assert np.array_equal(plain(flip=1.0)(image, rng()), straight[:, ::-1])
    flipped = [not np.array_equal(plain(flip=0.3)(image, rng(seed)), straight) for seed in range(400)]
    assert 0.2 < np.mean(flipped) < 0.4


def test_pad_and_crop_equals_padding_with_black_and_cutting_out(image):
    straight = Test(SIZE)(image)
    padded = np.pad(straight, ((3, 3), (3, 3), (0, 0)))
    crops = {padded[y : y + 32, x : x + 16].tobytes() for y in range(7) for x in range(7)}
    seen = {plain(pad=3)(image, rng(seed)).tobytes() for seed in range(600)}
    assert seen == crops


def test_a_pad_larger_than_the_picture_may_push_it_out(image):
    results = [plain(pad=40)(image, rng(seed)) for seed in range(50)]
    assert {result.shape for result in results} == {(*SIZE, 3)}
    assert any(not result.any() for result in results)


def test_crop_scale_cuts_boxes_of_that_area_and_about_the_shape_of_size():
    tall = np.zeros((200, 120, 3), np.uint8)
    for seed in range(100):
        part = transforms._random_part(tall, SIZE, (0.2, 0.5), rng(seed))
        height, width = part.shape[:2]
        assert 0.19 < height * width / (200 * 120) < 0.51
        assert 0.5 * 0.74 < width / height < 0.5 * 1.35


def test_crop_scale_keeps_the_whole_where_no_box_fits():
    flat = np.zeros((4, 400, 3), np.uint8)
    assert transforms._random_part(flat, SIZE, (1.0, 1.0), rng()).shape == flat.shape


def test_pad_does_not_apply_with_crop_scale():
    white = np.full((64, 32, 3), 255, np.uint8)
    for seed in range(20):
        assert plain(pad=10, crop_scale=(0.5, 1.0))(white, rng(seed)).min() == 255


def test_erasing_covers_a_box_of_two_to_forty_percent_with_the_mean():
    black = np.zeros((64, 32, 3), np.uint8)
    for seed in range(50):
        erased = (Train((64, 32), flip=0, pad=0, erasing=1.0)(black, rng(seed)) == transforms.IMAGENET_MEAN).all(2)
        ys, xs = np.nonzero(erased)
        assert erased.sum() == (np.ptp(ys) + 1) * (np.ptp(xs) + 1), "a box"
        assert 0.015 < erased.mean() < 0.42
    assert not black.any(), "the picture given is not written to"


@pytest.mark.parametrize(
    ("strengths", "formula"),
    [
        ((0.5, 0, 0, 0), lambda x, f: x * f),
        ((0, 0.5, 0, 0), lambda x, f: (x @ transforms.GREY).mean() + f * (x - (x @ transforms.GREY).mean())),
        ((0, 0, 0.5, 0), lambda x, f: f * x + (1 - f) * (x @ transforms.GREY)[..., None]),
    ],
)
def test_jitter_of_brightness_contrast_and_saturation_is_its_formula(image, strengths, formula):
    place = int(np.flatnonzero(strengths)[0])
    for seed in range(5):
        draws = rng(seed)
        factor = [draws.uniform(1 - s, 1 + s) for s in strengths[:3]][place]
        expected = np.clip(formula(image.astype(float), factor), 0, 255)
        assert np.abs(transforms._jitter(image, strengths, rng(seed)) - expected).max() <= 1.5


def test_jitter_of_hue_turns_colours_and_leaves_grey_alone():
    red, grey = np.full((2, 2, 3), (200, 0, 0), np.uint8), np.full((2, 2, 3), 90, np.uint8)
    turned = {tuple(transforms._jitter(red, (0, 0, 0, 0.5), rng(seed))[0, 0].tolist()) for seed in range(30)}
    assert len(turned) > 20
    assert {max(colour) for colour in turned} == {200}
    assert np.array_equal(transforms._jitter(grey, (0, 0, 0, 0.5), rng()), grey)


def test_jitter_prob_is_how_often_jitter_happens(image):
    straight = Test(SIZE)(image)
    jittered = [
        not np.array_equal(plain(color_jitter=(0.5, 0, 0, 0), jitter_prob=0.3)(image, rng(seed)), straight)
        for seed in range(400)
    ]
    assert 0.2 < np.mean(jittered) < 0.4


def test_equal_generators_give_equal_pictures_and_the_input_stays_as_it_was(image):
    before = image.copy()
    train = Train(SIZE, color_jitter=(0.2, 0.2, 0.2, 0.1), erasing=0.5)
    for seed in range(10):
        assert np.array_equal(train(image, rng(seed)), train(image, rng(seed)))
    assert np.array_equal(image, before)
    assert len({train(image, rng(seed)).tobytes() for seed in range(10)}) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (256,)}, "SIZE"),
        ({"size": (256, 0)}, "SIZE"),
        ({"interpolation": "lanczos"}, "bilinear, bicubic, area, nearest"),
        ({"flip": 1.5}, "FLIP 1.5; expected a probability"),
        ({"pad": -1}, "PAD"),
        ({"pad": 2.5}, "PAD"),
        ({"crop_scale": (0.5, 0.2)}, "CROP_SCALE"),
        ({"crop_scale": (0.5,)}, "CROP_SCALE"),
        ({"color_jitter": (0.1, 0.1)}, "COLOR_JITTER"),
        ({"color_jitter": (-0.1, 0, 0, 0)}, "COLOR_JITTER"),
        ({"color_jitter": (0, 0, 0, 0.6)}, "hue of 0 to 0.5"),
        ({"jitter_prob": -1}, "JITTER_PROB"),
        ({"erasing": 2}, "ERASING"),
    ],
)
def test_values_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Train(**options)


@pytest.mark.parametrize("crop", [0, 1.1, -0.5])
def test_test_crop_outside_its_range_is_refused(crop):
    with pytest.raises(ValueError, match="CROP"):
        Test(SIZE, crop=crop)
