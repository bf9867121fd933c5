"""A part of the picture as the whole of it."""

from __future__ import annotations

import math

import numpy as np

from reid.data.augment import Augmentation, Draws

LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
TRIES = 10


class ResizedCrop(Augmentation):
    """Cuts a box out of the picture before it is resized. Where no box of ten fits, the picture stays whole.

    Args:    scale: (low, high) share of the picture's area, above 0 and up to 1. The box has the shape of the pictures
             that are trained on, times 3/4 to 4/3.
    Source:  Szegedy et al. 2015, section 6, with the lower bound of 8% as its default.
    """

    before_resize = True

    def __init__(self, size: tuple[int, int], scale: tuple[float, float] = (0.08, 1.0)) -> None:
        if not (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1):
            raise ValueError(f"found SCALE {scale!r}; expected (low, high) shares of the area, above 0 and up to 1")
        self.shape = size[1] / size[0]
        self.low, self.high = scale

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws | None:
        """(top, left, height, width) in pixels."""
        for _ in range(TRIES):
            area = size[0] * size[1] * rng.uniform(self.low, self.high)
            ratio = self.shape * math.exp(rng.uniform(*LOG_RATIO))  # width / height
            h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < h <= size[0] and 0 < w <= size[1]:
                return (*rng.integers(0, (size[0] - h + 1, size[1] - w + 1)).tolist(), h, w)
        return None

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        y, x, h, w = draws
        return image[y : y + h, x : x + w]
