"""RandAugment's operations against PIL and plain loops; how RandAugment and AugMix choose and mix them."""

from __future__ import annotations

import numpy as np
import pytest
import slow_pixels as slow
from PIL import Image, ImageEnhance, ImageOps

from reid.builder import registry
from reid.data.augment import _operations, augmix, rand_augment
from reid.data.augment.augmix import Augmix
from reid.data.augment.rand_augment import RandAugment

SIZE = (32, 20)
PICTURES = {
    "noise": slow.noise(40, 30),
    "few values": slow.noise(40, 30) // 20 * 2 + 100,
    "mostly dark": (slow.noise(40, 30) / 255.0 * slow.noise(40, 30, seed=1)).astype(np.uint8),
    "one value": np.full((20, 12, 3), 90, np.uint8),
    "two pixels": slow.noise(1, 2),
}


@pytest.fixture(params=PICTURES)
def image(request):
    return PICTURES[request.param]


@pytest.mark.parametrize(
    ("name", "value", "pil"),
    [
        ("identity", 0, lambda image: image),
        ("equalize", 0, ImageOps.equalize),
        ("posterize", 3, lambda image: ImageOps.posterize(image, 3)),
        ("posterize", 8, lambda image: ImageOps.posterize(image, 8)),
        ("solarize", 100, lambda image: ImageOps.solarize(image, 100)),
        ("solarize", 256, lambda image: ImageOps.solarize(image, 256)),
    ],
)
def test_operation_equals_that_of_pil(image, name, value, pil):
    assert np.array_equal(getattr(_operations, name)(image, value), np.asarray(pil(Image.fromarray(image))))


@pytest.mark.parametrize(
    ("name", "value", "pil"),
    [
        ("autocontrast", 0, ImageOps.autocontrast),
        ("brightness", 1.6, lambda image: ImageEnhance.Brightness(image).enhance(1.6)),
        ("contrast", 0.4, lambda image: ImageEnhance.Contrast(image).enhance(0.4)),
        ("colour", 1.5, lambda image: ImageEnhance.Color(image).enhance(1.5)),
        ("sharpness", 0.3, lambda image: ImageEnhance.Sharpness(image).enhance(0.3)),
        ("sharpness", 1.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
    ],
)
def test_operation_equals_that_of_pil_up_to_roundings(image, name, value, pil):
    expected = np.asarray(pil(Image.fromarray(image))).astype(int)
    assert np.abs(getattr(_operations, name)(image, value) - expected).max() <= 2


def test_autocontrast_is_its_formula(image):
    expected = image.astype(float)
    for channel in range(3):
        plane = expected[..., channel]
        low, high = plane.min(), plane.max()
        if high > low:
            expected[..., channel] = (plane - low) * 255 / (high - low)
    assert np.abs(_operations.autocontrast(image, 0) - expected).max() <= 0.51


def test_sharpness_goes_away_from_the_smoothed_picture_and_keeps_the_edge():
    image, factor = slow.noise(), 0.5
    expected = image.astype(float)
    for y in range(1, image.shape[0] - 1):
        for x in range(1, image.shape[1] - 1):
            window = image[y - 1 : y + 2, x - 1 : x + 2].astype(float)
            mean = (window.sum((0, 1)) + 4 * window[1, 1]) / 13
            expected[y, x] = mean + factor * (image[y, x] - mean)
    assert np.abs(_operations.sharpness(image, factor) - expected).max() <= 1.1


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("shear_x", 0.25, lambda y, x: (y, x + 0.25 * y)),
        ("shear_x", -0.1, lambda y, x: (y, x - 0.1 * y)),
        ("shear_y", 0.3, lambda y, x: (y + 0.3 * x, x)),
        ("translate_x", 5, lambda y, x: (y, x + 5)),
        ("translate_y", -7, lambda y, x: (y - 7, x)),
    ],
)
def test_moves_look_up_where_they_say(name, value, where):
    picture = slow.smooth()
    expected = slow.moved(picture, where)
    inside = slow.moved(np.full_like(picture, 255), where) > 254
    difference = np.abs(getattr(_operations, name)(picture, value) - expected)
    assert difference[inside].max() <= 2
    assert difference.mean() < 1
    if name.startswith("translate"):
        assert difference.max() == 0


def test_rotate_is_that_of_rotation():
    picture = slow.smooth()
    assert np.abs(_operations.rotate(picture, 10) - slow.turned(picture, 10)).mean() < 1


# ---- RandAugment


def named(step, count=3000):
    """{operation: its numbers} of many draws."""
    found: dict[str, list[float]] = {}
    for seed in range(count):
        for chosen, value in step.draw(np.random.default_rng(seed), SIZE):
            found.setdefault(rand_augment.NAMES[chosen], []).append(value)
    return found


def test_rand_augment_has_fourteen_operations_equally_often():
    assert len(set(rand_augment.NAMES)) == 14
    counts = [len(values) for values in named(RandAugment()).values()]
    assert len(counts) == 14
    assert max(abs(count / 6000 * 14 - 1) for count in counts) < 0.2


@pytest.mark.parametrize("magnitude", [0, 10, 30])
def test_rand_augment_gives_each_its_number_and_both_signs(magnitude):
    share = magnitude / 30
    found = {name: set(values) for name, values in named(RandAugment(1, magnitude), 1500).items()}
    for name in ("brightness", "colour", "contrast", "sharpness"):
        assert sorted(found[name]) == pytest.approx(sorted({1 - 0.9 * share, 1 + 0.9 * share}))
    assert sorted(found["rotate"]) == pytest.approx(sorted({-30 * share, 30 * share}))
    assert sorted(found["shear_x"]) == sorted(found["shear_y"])
    assert sorted(found["shear_x"]) == pytest.approx(sorted({-0.3 * share, 0.3 * share}))
    for name, side in (("translate_x", SIZE[1]), ("translate_y", SIZE[0])):
        assert found[name] == {round(150 / 331 * side * share), -round(150 / 331 * side * share)}
    assert found["posterize"] == {8 - round(4 * share)}
    assert found["solarize"] == {255 * (1 - share)}
    assert found["identity"] == found["autocontrast"] == found["equalize"] == {0}


def test_rand_augment_applies_its_operations_in_their_order():
    image = slow.noise()
    first, then = rand_augment.NAMES.index("solarize"), rand_augment.NAMES.index("posterize")
    result = RandAugment().apply(image, ((first, 90), (then, 2)))
    assert np.array_equal(result, _operations.posterize(_operations.solarize(image, 90), 2))
    assert not np.array_equal(result, RandAugment().apply(image, ((then, 2), (first, 90))))
    assert np.array_equal(RandAugment(0).apply(image, RandAugment(0).draw(np.random.default_rng(0), SIZE)), image)


# ---- AugMix


def test_augmix_mixes_the_picture_with_its_chains():
    image = slow.noise()
    solarize, translate = augmix.NAMES.index("solarize"), augmix.NAMES.index("translate_x")
    draws = (0.7, (0.25, ((solarize, 60),)), (0.75, ((translate, 3), (solarize, 200))))
    one = _operations.solarize(image, 60).astype(float)
    other = _operations.solarize(_operations.translate_x(image, 3), 200).astype(float)
    expected = 0.3 * image + 0.7 * (0.25 * one + 0.75 * other)
    assert np.abs(Augmix().apply(image, draws) - expected).max() <= 0.51


def test_augmix_draws_weights_chains_and_levels_of_the_paper():
    drawn = [Augmix().draw(np.random.default_rng(seed), SIZE) for seed in range(2000)]
    shares = np.array([share for share, *_ in drawn])
    assert np.histogram(shares, 4, (0, 1))[0].min() > 420  # Beta(1, 1) is uniform
    weights = np.array([[weight for weight, _ in chains] for _, *chains in drawn])
    assert weights.shape == (2000, 3)
    assert weights.sum(1) == pytest.approx(1)
    assert weights.mean(0) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert weights.var(0) == pytest.approx([1 / 18] * 3, abs=0.01)  # of Dirichlet(1, 1, 1)
    lengths = [len(steps) for _, *chains in drawn for _, steps in chains]
    assert np.histogram(lengths, [1, 2, 3, 4])[0].min() > 1850
    found: dict[str, list[float]] = {}
    for _, *chains in drawn:
        for _, steps in chains:
            for number, value in steps:
                found.setdefault(augmix.NAMES[number], []).append(value)
    assert len(found) == 9
    ranges = {name: (min(values), max(values)) for name, values in found.items()}
    assert ranges["rotate"] == (-8, 8)  # below 30 * 3 / 10
    assert ranges["shear_x"] == pytest.approx((-0.09, 0.09), abs=0.001)
    assert ranges["translate_x"] == (-1, 1)  # below 20 / 3 * 3 / 10
    assert ranges["translate_y"] == (-3, 3)
    assert ranges["posterize"] == (3, 4)
    assert ranges["solarize"] == (180, 254)
    assert min(value for value in np.abs(found["shear_x"])) < 0.005


def test_augmix_of_the_highest_severity_keeps_a_bit():
    step = Augmix(severity=10, chains=1)
    bits = [
        value
        for seed in range(1000)
        for _, steps in step.draw(np.random.default_rng(seed), SIZE)[1:]
        for number, value in steps
        if augmix.NAMES[number] == "posterize"
    ]
    assert set(bits) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("name", "option", "wrong"),
    [
        ("rand_augment", "MAGNITUDE", 31),
        ("rand_augment", "OPERATIONS", -1),
        ("augmix", "SEVERITY", 0),
        ("augmix", "CHAINS", 0),
    ],
)
def test_wrong_options_of_rand_augment_and_augmix_are_refused(name, option, wrong):
    with pytest.raises(ValueError, match=rf"augment\.{name}\.{option} is {wrong}"):
        registry.make("data/augment", {"NAME": name, option: wrong}, size=SIZE)
    with pytest.raises(ValueError, match=f"found {option} {wrong}"):
        registry.find("data/augment", name)(**{option.lower(): wrong})
