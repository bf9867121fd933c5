"""A box without colour."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _box, _colour, probability


class GreyPatch(Augmentation):
    """A box of 2 to 40% of the area, 0.3 to 3.3 times as high as wide, becomes grey. Where no box of ten fits, none does.

    Args:    prob: how often.
    Source:  the local greyscale transformation of Gong et al. 2021; its box is that of random erasing.
    """

    def __init__(self, prob: float = 0.25) -> None:
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws | None:
        """(top, left, height, width) in pixels."""
        return _box.draw(rng, size)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        y, x, h, w = draws
        image = image.copy()
        image[y : y + h, x : x + w] = _colour.grey(image[y : y + h, x : x + w])
        return image
