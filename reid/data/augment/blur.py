"""Gaussian blur."""

from __future__ import annotations

import math

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Blur(Augmentation):
    """Each pixel becomes the mean of its surroundings, weighted by a Gaussian and cut off at three deviations.

    Beyond its edges the picture is mirrored.

    Args:    sigma: (low, high), above 0; the Gaussian's deviation in pixels is drawn between them. prob: how often.
    Source:  Chen et al. 2020 (SimCLR), with its range; there the cut is at a tenth of the picture's side.
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0), prob: float = 0.5) -> None:
        if not (len(sigma) == 2 and 0 < sigma[0] <= sigma[1]):
            raise ValueError(f"found SIGMA {sigma!r}; expected (low, high) in pixels, above 0")
        (self.low, self.high), self.prob = sigma, probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(deviation in pixels,)."""
        return (rng.uniform(self.low, self.high),)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        (sigma,) = draws
        width = 2 * math.ceil(3 * sigma) + 1
        return cv2.GaussianBlur(image, (width, width), sigma, borderType=cv2.BORDER_REFLECT_101)
