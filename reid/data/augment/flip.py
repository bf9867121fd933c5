"""The mirror image."""

from __future__ import annotations

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Flip(Augmentation):
    """Mirrors left and right with probability `prob`."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        return ()

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        return cv2.flip(image, 1)
