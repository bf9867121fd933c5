"""What is done to a picture before it enters a batch: (H, W, 3) uint8 RGB in, the same form in one size out.

OpenCV on uint8 throughout: normalising is the encoder's work, on its device. A generator decides every draw, so equal
generators give equal pictures. Measured against the same steps on PIL in `benchmarks/loader.py`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

INTERPOLATIONS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and PIL weigh R, G, B
IMAGENET_MEAN = (124, 116, 104)  # what is erased becomes 0 once normalised
ERASED_AREA, ERASED_RATIO = (0.02, 0.4), (0.3, 1 / 0.3)
CROP_RATIO = (3 / 4, 4 / 3)
TRIES = 10


class Test:
    """Resize to `size`; with crop < 1 resize to size / crop and cut the middle out.

    Args:
        size: (height, width) in pixels. interpolation: bilinear, bicubic, area or nearest. crop: above 0, up to 1.
    Raises ValueError for anything else.
    """

    __test__ = False  # not a test, though pytest would take its name for one

    def __init__(self, size: tuple[int, int] = (256, 128), interpolation: str = "bilinear", crop: float = 1.0) -> None:
        self.size, self.interpolation = _size(size), _interpolation(interpolation)
        _within("CROP", crop, 0, 1, "above 0 and up to 1", above=True)
        self.whole = (round(self.size[0] / crop), round(self.size[1] / crop))

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """(H, W, 3) -> (*size, 3) uint8; nothing is drawn from `rng`."""
        image = _resize(image, self.whole, self.interpolation)
        y, x = ((whole - size) // 2 for whole, size in zip(self.whole, self.size, strict=True))
        return image[y : y + self.size[0], x : x + self.size[1]]


class Train:
    """Resize (or random resized crop), flip, pad and random crop, colour jitter, erasing; in this order.

    Args:
        size: (height, width) in pixels. interpolation: bilinear, bicubic, area or nearest.
        flip: probability of mirroring left and right.
        pad: black pixels put around before a crop of `size` is drawn; not used together with crop_scale.
        crop_scale: (low, high) share of the picture's area to be cut out and resized to `size`, its shape that of
            `size` times 3/4 to 4/3; None to resize the whole picture.
        color_jitter: (brightness, contrast, saturation, hue); factors are drawn from 1 - x to 1 + x, the hue's turn from
            -x to x of the circle, so hue is at most 0.5.
        jitter_prob: probability of the jitter. erasing: probability of erasing a box of 2 to 40% of the area.
    Raises ValueError for values outside these ranges.
    Source: random erasing, Zhong et al. 2020, algorithm 1; filled with ImageNet's mean instead of noise, as re-id's
        strong baseline (Luo et al. 2019) does.
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 128),
        interpolation: str = "bilinear",
        flip: float = 0.5,
        pad: int = 10,
        crop_scale: tuple[float, float] | None = None,
        color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
        jitter_prob: float = 1.0,
        erasing: float = 0.0,
    ) -> None:
        self.size, self.interpolation = _size(size), _interpolation(interpolation)
        for name, probability in (("FLIP", flip), ("JITTER_PROB", jitter_prob), ("ERASING", erasing)):
            _within(name, probability, 0, 1, "a probability, 0 to 1")
        if int(pad) != pad or pad < 0:
            raise ValueError(f"transform: found PAD {pad!r}; expected a whole number of pixels, 0 or more")
        if crop_scale is not None and not (len(crop_scale) == 2 and 0 < crop_scale[0] <= crop_scale[1] <= 1):
            raise ValueError(
                f"transform: found CROP_SCALE {crop_scale!r}; expected (low, high) shares of the area, up to 1"
            )
        if len(color_jitter) != 4:
            raise ValueError(
                f"transform: found COLOR_JITTER {color_jitter!r}; expected (brightness, contrast, saturation, hue)"
            )
        for strength in color_jitter[:3]:
            _within("COLOR_JITTER", strength, 0, math.inf, "strengths of 0 or more")
        _within("COLOR_JITTER", color_jitter[3], 0, 0.5, "a hue of 0 to 0.5")
        self.flip, self.pad, self.crop_scale, self.erasing = flip, int(pad), crop_scale, erasing
        self.color_jitter, self.jitter_prob = tuple(color_jitter), jitter_prob

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) -> (*size, 3) uint8."""
        if self.crop_scale is not None:
            image = _random_part(image, self.size, self.crop_scale, rng)
        image = _resize(image, self.size, self.interpolation)
        if rng.random() < self.flip:
            image = cv2.flip(image, 1)
        if self.pad and self.crop_scale is None:
            image = _shift(image, *rng.integers(-self.pad, self.pad + 1, 2).tolist())
        if any(self.color_jitter) and rng.random() < self.jitter_prob:
            image = _jitter(image, self.color_jitter, rng)
        if rng.random() < self.erasing:
            image = _erase(image, rng)
        return image


def _size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise ValueError(f"transform: found SIZE {size!r}; expected (height, width) in pixels")
    return int(size[0]), int(size[1])


def _interpolation(name: str) -> int:
    if name not in INTERPOLATIONS:
        raise ValueError(f"transform: found INTERPOLATION {name!r}; expected {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[name]


def _within(name: str, value: float, low: float, high: float, expected: str, *, above: bool = False) -> None:
    if not low <= value <= high or (above and value == low):
        raise ValueError(f"transform: found {name} {value!r}; expected {expected}")


def _resize(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def _shift(image: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Moves a picture within its frame, black coming in: what padding and cropping to the old size amounts to."""
    height, width = image.shape[:2]
    shifted = np.zeros_like(image)
    y, x = max(dy, 0), max(dx, 0)
    rows, columns = max(height - abs(dy), 0), max(width - abs(dx), 0)
    shifted[y : y + rows, x : x + columns] = image[max(-dy, 0) :, max(-dx, 0) :][:rows, :columns]
    return shifted


def _random_part(image: np.ndarray, size: tuple[int, int], scale: tuple[float, float], rng) -> np.ndarray:
    """A box of `scale` of the area and about the shape of `size`; the whole picture where none fits."""
    height, width = image.shape[:2]
    for _ in range(TRIES):
        area = height * width * rng.uniform(*scale)
        ratio = size[1] / size[0] * math.exp(rng.uniform(*map(math.log, CROP_RATIO)))  # width / height
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            y, x = rng.integers(0, (height - h + 1, width - w + 1)).tolist()
            return image[y : y + h, x : x + w]
    return image


def _jitter(image: np.ndarray, strengths: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation, hue, in this order."""
    brightness, contrast, saturation = (rng.uniform(max(0, 1 - s), 1 + s) for s in strengths[:3])
    turn = rng.uniform(-strengths[3], strengths[3])
    if strengths[0] or strengths[1]:
        # Both are functions of one value, so the two are one look-up.
        levels = np.clip(np.arange(256) * brightness, 0, 255)
        means = [float(levels @ np.bincount(plane.ravel(), minlength=256)) for plane in cv2.split(image)]
        middle = float(np.dot(GREY, means)) / (image.shape[0] * image.shape[1])
        levels = np.clip(middle + (levels - middle) * contrast, 0, 255)
        image = cv2.LUT(image, np.rint(levels).astype(np.uint8))
    if strengths[2]:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    if strengths[3]:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        # OpenCV counts the circle in 180 steps, to fit a byte.
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turn * 180)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image


def _erase(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Covers a box with ImageNet's mean colour; the picture as it was where none of the tries fits into it."""
    height, width = image.shape[:2]
    for _ in range(TRIES):
        area = height * width * rng.uniform(*ERASED_AREA)
        ratio = rng.uniform(*ERASED_RATIO)  # height / width
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            y, x = rng.integers(0, (height - h + 1, width - w + 1)).tolist()
            image = image.copy()
            image[y : y + h, x : x + w] = IMAGENET_MEAN
            return image
    return image
