"""Fewer pixels."""

from __future__ import annotations

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Resolution(Augmentation):
    """Shrinks the picture (each small pixel is the mean of those it covers) and enlarges it again, bilinearly.

    Args:    scale: (low, high), above 0 and up to 1; the share of its height and width is drawn between them.
             prob: how often.
    Source:  Wang et al. 2018 (CSR-GAN) shrink by 2, 3 or 4 to study people of low resolution; here by any share between.
    """

    def __init__(self, scale: tuple[float, float] = (0.25, 1.0), prob: float = 0.5) -> None:
        if not (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1):
            raise ValueError(f"found SCALE {scale!r}; expected (low, high) shares of the sides, above 0 and up to 1")
        (self.low, self.high), self.prob = scale, probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(height, width) of the small picture."""
        scale = rng.uniform(self.low, self.high)
        return max(1, round(scale * size[0])), max(1, round(scale * size[1]))

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        height, width = draws
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
