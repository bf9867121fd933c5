"""A box within a picture, drawn as random erasing draws it."""

from __future__ import annotations

import math

import numpy as np

from reid.data.augment import Draws

AREA, RATIO = (0.02, 0.4), (0.3, 1 / 0.3)
TRIES = 10


def draw(rng: np.random.Generator, size: tuple[int, int]) -> Draws | None:
    """(top, left, height, width) in pixels: 2 to 40% of the area, 0.3 to 3.3 times as high as wide; None: ten do not fit."""
    for _ in range(TRIES):
        area = size[0] * size[1] * rng.uniform(*AREA)
        ratio = rng.uniform(*RATIO)  # height / width
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < size[0] and 0 < w < size[1]:
            return (*rng.integers(0, (size[0] - h + 1, size[1] - w + 1)).tolist(), h, w)
    return None
