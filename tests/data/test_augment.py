"""Each augmentation of `reid/data/augment` on its own, and what all of them keep."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from reid import config
from reid.builder import objects, registry
from reid.data.augment import Augmentation
from reid.data.augment import erasing as erasing_file
from reid.data.augment._colour import GREY
from reid.data.augment.crop import Crop
from reid.data.augment.erasing import Erasing
from reid.data.augment.flip import Flip
from reid.data.augment.jitter import Jitter
from reid.data.augment.resized_crop import ResizedCrop
from reid.data.transforms import Train

SIZE = (32, 16)
NAMES = registry.names("data/augment")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def made(name: str) -> Augmentation:
    return registry.make("data/augment", {"NAME": name}, size=SIZE)


def plain(draws) -> bool:
    return all(plain(draw) if isinstance(draw, tuple) else type(draw) in (int, float, bool) for draw in draws)


# ---- what all of them keep


@pytest.mark.parametrize("name", NAMES)
def test_augment_draws_plain_numbers_from_the_size_alone_and_keeps_the_kind_of_picture(name, image):
    step = made(name)
    before = image.copy()
    for seed in range(30):
        draws = step.draw(rng(seed), SIZE)
        assert draws == step.draw(rng(seed), SIZE)
        if draws is None:
            continue
        assert isinstance(draws, tuple)
        assert plain(draws)
        result = step.apply(image, draws)
        assert result.dtype == np.uint8
        assert result.ndim == 3
        assert step.before_resize or result.shape == image.shape
        # From the draws alone: another of its kind gives the same, and nothing is remembered.
        assert np.array_equal(result, made(name).apply(image.copy(), draws))
        assert np.array_equal(image, before)


@pytest.mark.parametrize("name", NAMES)
def test_augment_gives_different_pictures_to_different_generators(name, image):
    train = Train(SIZE, augment=[made(name)])
    assert len({train(image, rng(seed)).tobytes() for seed in range(40)}) > 1


@pytest.mark.parametrize("name", [name for name in NAMES if made(name).prob is not None])
def test_augment_with_a_probability_happens_as_often_as_asked_and_draws_that_first(name):
    for prob, expected in ((0.0, 0), (0.3, 0.3), (1.0, 1)):
        step = registry.make("data/augment", {"NAME": name, "PROB": prob}, size=SIZE)
        train = Train(SIZE, augment=[step])
        happened = [train.draw(rng(seed), SIZE) != [None] for seed in range(300)]
        if step.draw(rng(0), SIZE) is not None:  # erasing may find no room; then less often
            assert abs(np.mean(happened) - expected) < 0.08
        assert all(rng(seed).random() < prob for seed, hit in enumerate(happened) if hit)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"augment\.{name}\.PROB is {wrong}; expected a number in \[0, 1\]"):
            registry.make("data/augment", {"NAME": name, "PROB": wrong}, size=SIZE)
        with pytest.raises(ValueError, match=f"found PROB {wrong}; expected a probability, 0 to 1"):
            type(step)(prob=wrong)


# ---- flip, crop, resized_crop, erasing, jitter


def test_flip_mirrors_left_and_right(image):
    assert np.array_equal(Flip().apply(image, ()), image[:, ::-1])


def test_crop_equals_padding_with_black_and_cutting_out(image):
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)))
    crops = {padded[y : y + 32, x : x + 16].tobytes() for y in range(7) for x in range(7)}
    crop = Crop(3)
    assert {crop.apply(image, crop.draw(rng(seed), SIZE)).tobytes() for seed in range(600)} == crops


def test_a_pad_larger_than_the_picture_may_push_it_out(image):
    crop = Crop(40)
    results = [crop.apply(image, crop.draw(rng(seed), SIZE)) for seed in range(50)]
    assert {result.shape for result in results} == {(*SIZE, 3)}
    assert any(not result.any() for result in results)


def test_resized_crop_cuts_boxes_of_that_area_and_about_the_shape_of_the_input():
    step = ResizedCrop(SIZE, (0.2, 0.5))
    for seed in range(100):
        y, x, height, width = step.draw(rng(seed), (200, 120))
        assert 0.19 < height * width / (200 * 120) < 0.51
        assert 0.5 * 0.74 < width / height < 0.5 * 1.35
        assert 0 <= y <= 200 - height
        assert 0 <= x <= 120 - width
    assert step.apply(np.zeros((200, 120, 3), np.uint8), (3, 4, 50, 30)).shape == (50, 30, 3)


def test_resized_crop_keeps_the_whole_where_no_box_fits():
    assert ResizedCrop(SIZE, (1.0, 1.0)).draw(rng(), (4, 400)) is None


def test_erasing_covers_a_box_of_two_to_forty_percent_with_the_mean():
    black = np.zeros((64, 32, 3), np.uint8)
    for seed in range(50):
        erased = (Train((64, 32), augment=[Erasing(1.0)])(black, rng(seed)) == erasing_file.MEAN).all(2)
        ys, xs = np.nonzero(erased)
        assert erased.sum() == (np.ptp(ys) + 1) * (np.ptp(xs) + 1), "a box"
        assert 0.015 < erased.mean() < 0.42


@pytest.mark.parametrize(
    ("draws", "formula"),
    [
        ((1.4, 1, 1, 0), lambda x: 1.4 * x),
        ((1, 0.6, 1, 0), lambda x: (x @ GREY).mean() + 0.6 * (x - (x @ GREY).mean())),
        ((1, 1, 1.3, 0), lambda x: 1.3 * x + (1 - 1.3) * (x @ GREY)[..., None]),
    ],
)
def test_jitter_of_brightness_contrast_and_saturation_is_its_formula(image, draws, formula):
    expected = np.clip(formula(image.astype(float)), 0, 255)
    assert np.abs(Jitter().apply(image, draws) - expected).max() <= 1.5


def test_jitter_draws_factors_around_one_and_turns_around_zero():
    draws = np.array([Jitter(0.2, 1.5, 0.0, 0.1).draw(rng(seed), SIZE) for seed in range(500)])
    assert draws.min(0) == pytest.approx([0.8, 0.0, 1.0, -0.1], abs=0.02)
    assert draws.max(0) == pytest.approx([1.2, 2.5, 1.0, 0.1], abs=0.02)


def test_jitter_of_hue_turns_colours_and_leaves_grey_alone():
    red, grey = np.full((2, 2, 3), (200, 0, 0), np.uint8), np.full((2, 2, 3), 90, np.uint8)
    assert Jitter().apply(red, (1, 1, 1, 1 / 3))[0, 0].tolist() == [0, 200, 0]
    assert Jitter().apply(red, (1, 1, 1, -1 / 3))[0, 0].tolist() == [0, 0, 200]
    assert np.array_equal(Jitter().apply(grey, (1, 1, 1, 0.3)), grey)


# ---- what is refused


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("[{NAME: crop, PAD: -1}]", r"augment\.crop\.PAD is -1; expected a number in \[0, 1000\]"),
        ("[{NAME: crop, PAD: 2.5}]", r"augment\.crop\.PAD is 2\.5"),
        ("[{NAME: resized_crop, SCALE: [0.5, 0.2]}]", r"augment\.resized_crop: found SCALE \[0\.5, 0\.2\]"),
        (
            "[{NAME: resized_crop, SCALE: [0.5]}]",
            r"augment\.resized_crop\.SCALE is \[0\.5\] \(list\); expected a list of 2",
        ),
        ("[{NAME: jitter, CONTRAST: -0.1}]", r"augment\.jitter\.CONTRAST is -0\.1; expected a number in \[0, 10\]"),
        ("[{NAME: jitter, HUE: 0.6}]", r"augment\.jitter\.HUE is 0\.6; expected a number in \[0, 0\.5\]"),
        ("[{NAME: jiter}]", r"data/augment: no jiter; did you mean jitter\?"),
        ("[{NAME: flip, PROBABILITY: 1}]", r"augment\.flip: no option PROBABILITY; did you mean PROB\?"),
        ("[{NAME: resized_crop, SIZE: [4, 4]}]", "no option SIZE"),
        ("[{PROB: 1}]", r"INPUT\.AUGMENT: found the entry {'PROB': 1}; expected NAME or"),
        ("[3]", r"INPUT\.AUGMENT: found the entry 3"),
        ("[flip, resized_crop]", "found ResizedCrop behind another augmentation"),
    ],
)
def test_wrong_augment_is_one_clear_line(augment, message):
    with pytest.raises(ValueError, match=message) as error:
        objects.train_transform(config.load(None, ["INPUT.AUGMENT", augment]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("step", "options", "message"),
    [
        (Crop, {"pad": -1}, "found PAD -1; expected a whole number of pixels, 0 or more"),
        (ResizedCrop, {"size": SIZE, "scale": (0.5,)}, r"found SCALE \(0\.5,\)"),
        (Jitter, {"contrast": -0.1}, r"found CONTRAST -0\.1; expected a strength of 0 or more"),
        (Jitter, {"hue": 0.6}, r"found HUE 0\.6; expected 0 to 0\.5 of the circle"),
    ],
)
def test_wrong_option_in_a_prompt_is_refused_by_the_constructor(step, options, message):
    with pytest.raises(ValueError, match=message):
        step(**options)


# ---- docs/augmentations.md

PAGE = (Path(__file__).parents[2] / "docs" / "augmentations.md").read_text(encoding="utf-8")
OPTIONS = PAGE[: PAGE.index("\n## ")]  # the first table
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z_]+)` \|.*$", OPTIONS, re.MULTILINE)}


def test_the_page_of_augmentations_has_each_with_its_options_and_defaults():
    assert list(ROWS) == NAMES
    for name, row in ROWS.items():
        stated = {key: yaml.safe_load(value) for key, value in re.findall(r"`([A-Z_0-9]+) ([^`]+)`", row)}
        options = registry.options("data/augment", name)
        defaults = {key: list(p.default) if isinstance(p.default, tuple) else p.default for key, p in options.items()}
        assert stated == defaults, name


def test_the_lists_the_page_of_augmentations_shows_are_taken(tmp_path):
    shown = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    for number, block in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        cfg = config.load(path)
        assert len(objects.train_transform(cfg).augment) == len(cfg.INPUT.AUGMENT)
        assert objects.views(cfg).keys() == cfg.INPUT.VIEWS.keys()
