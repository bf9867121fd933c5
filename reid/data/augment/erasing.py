"""Random erasing."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _box, probability

MEAN = (124, 116, 104)  # of ImageNet: what is erased becomes 0 once normalised


class Erasing(Augmentation):
    """Covers a box of 2 to 40% of the area, 0.3 to 3.3 times as high as wide. Where no box of ten fits, none is covered.

    It hurts across domains, so no recipe of people uses it but for the strong view of BAU.

    Args:    prob: how often.
    Source:  Zhong et al. 2020, algorithm 1; filled with ImageNet's mean in place of noise, as re-id's strong baseline
             (Luo et al. 2019) does.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws | None:
        """(top, left, height, width) in pixels."""
        return _box.draw(rng, size)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        y, x, h, w = draws
        image = image.copy()
        image[y : y + h, x : x + w] = MEAN
        return image
