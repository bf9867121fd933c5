"""Augmentations of a picture's pixels, each against its formula in plain loops."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import slow_pixels as slow
from PIL import Image

from reid.builder import registry
from reid.data.augment import figures as kinds
from reid.data.augment.blur import Blur
from reid.data.augment.figures import Figures
from reid.data.augment.grey_patch import GreyPatch
from reid.data.augment.greyscale import Greyscale
from reid.data.augment.grid import Grid
from reid.data.augment.jpeg import Jpeg
from reid.data.augment.padding import Padding
from reid.data.augment.resolution import Resolution
from reid.data.augment.rotation import Rotation

SIZE = (32, 20)


def draws(step, count=300):
    return [step.draw(np.random.default_rng(seed), SIZE) for seed in range(count)]


def test_greyscale_is_the_weighted_sum_in_all_channels():
    image = slow.noise()
    result = Greyscale().apply(image, ())
    assert np.abs(result - slow.grey(image)[..., None]).max() <= 0.51
    assert (np.ptp(result, axis=2) == 0).all()


def test_grey_patch_is_grey_in_its_box_and_untouched_outside():
    image = slow.noise()
    y, x, h, w = 4, 3, 9, 5
    result = GreyPatch().apply(image, (y, x, h, w))
    inside = np.zeros(image.shape[:2], bool)
    inside[y : y + h, x : x + w] = True
    assert np.abs(result - slow.grey(image)[..., None])[inside].max() <= 0.51
    assert np.array_equal(result[~inside], image[~inside])
    shares = [h * w / math.prod(SIZE) for _, _, h, w in filter(None, draws(GreyPatch()))]
    assert 0.01 < min(shares) < 0.1
    assert 0.3 < max(shares) < 0.42


@pytest.mark.parametrize("degrees", [-180, -30, 0, 5, 90])
def test_rotation_turns_about_the_middle(degrees):
    image = slow.smooth()
    expected = slow.turned(image, degrees)
    difference = np.abs(Rotation().apply(image, (degrees,)) - expected)
    inside = slow.turned(np.full_like(image, 255), degrees) > 254  # where no black comes in
    assert inside.mean() > 0.3
    assert difference[inside].max() <= 2
    assert difference.mean() < 1


def test_rotation_by_a_quarter_and_a_half_is_exact_and_counter_clockwise():
    square = slow.noise(16, 16)
    assert np.array_equal(Rotation().apply(square, (90,)), np.rot90(square))
    assert np.array_equal(Rotation().apply(square, (180,)), square[::-1, ::-1])
    angles = [angle for (angle,) in draws(Rotation(20))]
    assert (min(angles), max(angles)) == pytest.approx((-20, 20), abs=0.5)


@pytest.mark.parametrize("borders", [(0, 0, 0, 0), (3, 1, 0, 7), (10, 0, 5, 5)])
def test_padding_puts_black_around_and_resizes(borders):
    image = slow.smooth()
    top, bottom, left, right = borders
    wide = np.pad(image, ((top, bottom), (left, right), (0, 0)))
    result = Padding().apply(image, borders)
    # Smaller, so bilinear reading at the middles of pixels, as when enlarging.
    assert np.abs(result - slow.enlarged(wide, *SIZE)).max() <= 2
    assert {width for drawn in draws(Padding(3)) for width in drawn} == {0, 1, 2, 3}


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.0])
def test_blur_is_the_mean_weighted_by_a_gaussian(sigma):
    image = slow.noise()
    reach = math.ceil(3 * sigma)
    weights = np.array([math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-reach, reach + 1)])
    weights = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(image.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            window = padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
            expected = (window * weights[..., None]).sum((0, 1))
            assert np.abs(Blur().apply(image, (sigma,))[y, x] - expected).max() <= 1.5
    sigmas = [sigma for (sigma,) in draws(Blur())]
    assert (min(sigmas), max(sigmas)) == pytest.approx((0.1, 2.0), abs=0.05)


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_jpeg_loses_what_pil_loses_at_that_quality(quality):
    image = slow.smooth(64, 48) // 2 + slow.noise(64, 48) // 4
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    expected = np.asarray(Image.open(file)).astype(float)
    result = Jpeg().apply(image, (quality,))
    assert np.abs(result - expected).mean() < 0.1 * np.abs(image - expected).mean()


def test_jpeg_of_lower_quality_is_further_from_the_picture_and_draws_whole_qualities():
    image = slow.noise(64, 48)
    losses = [np.abs(Jpeg().apply(image, (q,)).astype(float) - image).mean() for q in (5, 30, 60, 95)]
    assert losses == sorted(losses, reverse=True)
    assert {quality for (quality,) in draws(Jpeg((30, 33)))} == {30, 31, 32, 33}


def test_resolution_takes_means_and_enlarges_them():
    image = slow.noise(24, 12)
    means = image.astype(float).reshape(8, 3, 4, 3, 3).mean((1, 3))
    result = Resolution().apply(image, (8, 4))
    assert np.abs(result - slow.enlarged(means, 24, 12)).max() <= 1.5
    assert np.array_equal(Resolution().apply(image, (24, 12)), image)
    shares = [height / SIZE[0] for height, _ in draws(Resolution((0.25, 0.5)))]
    assert (min(shares), max(shares)) == (0.25, 0.5)
    assert all(abs(height / SIZE[0] - width / SIZE[1]) < 0.05 for height, width in draws(Resolution()))


def drawn_over(step, drawing) -> np.ndarray:
    """(H, W) bool: which pixels a step covers in the colour drawn, on a picture of another colour."""
    black = np.zeros((*SIZE, 3), np.uint8)
    result = step.apply(black, drawing)
    covered = (result == (200, 100, 50)).all(2)
    assert np.array_equal(covered, result.any(2)), "that colour or none"
    return covered


@pytest.mark.parametrize("thickness", [1, 4])
@pytest.mark.parametrize("points", [(5, 3, 27, 14), (16, 2, 16, 18), (30, 10, 4, 10), (9, 9, 9, 9)])
@pytest.mark.parametrize("kind", [kinds.LINE, kinds.RECTANGLE, kinds.CIRCLE])
def test_figures_cover_what_lies_within_half_their_thickness(kind, points, thickness):
    covered = drawn_over(Figures(), (kind, thickness, 200, 100, 50, *points))
    y0, x0, y1, x1 = points
    one, other = np.array([y0, x0], float), np.array([y1, x1], float)
    corners = [one, np.array([y0, x1], float), other, np.array([y1, x0], float)]

    def distance(point: np.ndarray) -> float:
        if kind == kinds.LINE:
            return slow.distance(point, one, other)
        if kind == kinds.RECTANGLE:
            return min(slow.distance(point, a, b) for a, b in zip(corners, [*corners[1:], one], strict=True))
        return abs(float(np.linalg.norm(point - (one + other) / 2)) - float(np.linalg.norm(other - one)) / 2)

    for y, x in np.ndindex(*SIZE):
        away = distance(np.array([y, x], float))
        if covered[y, x]:
            assert away <= thickness / 2 + 1.1
        else:
            assert away > thickness / 2 - 1.1


def test_figures_draw_every_kind_thickness_and_point():
    found = np.array(draws(Figures((2, 4)), 2000))
    assert set(found[:, 0]) == {kinds.LINE, kinds.RECTANGLE, kinds.CIRCLE}
    assert set(found[:, 1]) == {2, 3, 4}
    assert (found[:, 2:5].min(), found[:, 2:5].max()) == (0, 255)
    for columns, side in ((found[:, [5, 7]], SIZE[0]), (found[:, [6, 8]], SIZE[1])):
        assert set(columns.ravel()) == set(range(side))


@pytest.mark.parametrize(("cell", "angle", "firsts"), [(6, 0, (0, 2.5)), (8, 30, (1, 7)), (11, 77.5, (0.4, 10))])
def test_grid_covers_lines_a_cell_apart_in_two_directions(cell, angle, firsts):
    covered = drawn_over(Grid(), (cell, angle, *firsts, 200, 100, 50))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for y, x in np.ndindex(*SIZE):
        right, down = x - (SIZE[1] - 1) / 2, y - (SIZE[0] - 1) / 2
        across = (right * cos + down * sin - firsts[0], -right * sin + down * cos - firsts[1])
        away = min(abs(offset - cell * round(offset / cell)) for offset in across)
        assert covered[y, x] == (away < 0.5) or abs(away - 0.5) < 1e-4
    cells = [drawn[0] for drawn in draws(Grid((6, 9)))]
    assert set(cells) == {6, 7, 8, 9}


@pytest.mark.parametrize(
    ("name", "option", "wrong"),
    [
        ("rotation", "DEGREES", 181),
        ("padding", "PAD", -1),
        ("blur", "SIGMA", [0, 1]),
        ("blur", "SIGMA", [1]),
        ("jpeg", "QUALITY", [0, 50]),
        ("jpeg", "QUALITY", [50, 101]),
        ("jpeg", "QUALITY", [50.5, 60]),
        ("resolution", "SCALE", [0.5, 1.5]),
        ("figures", "THICKNESS", [0, 3]),
        ("grid", "CELL", [1, 3]),
        ("grid", "CELL", [9, 3]),
    ],
)
def test_wrong_options_of_augment_are_refused(name, option, wrong):
    with pytest.raises(ValueError, match=rf"augment\.{name}(\.{option} is|: found {option}) "):
        registry.make("data/augment", {"NAME": name, option: wrong}, size=SIZE)
    with pytest.raises(ValueError, match=f"found {option}"):
        registry.find("data/augment", name)(**{option.lower(): wrong})
