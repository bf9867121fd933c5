"""Borders of a random width."""

from __future__ import annotations

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Padding(Augmentation):
    """Puts black around the picture, on each side its own width, and resizes the whole to the old size, bilinearly.

    The person becomes smaller and moves, as in a box that was cut too wide.

    Args:    pad: 0 or more; each side's width is drawn from 0 to pad pixels. prob: how often.
    Source:  Sovrasov and Sidnev 2020, up to 10 pixels.
    """

    def __init__(self, pad: int = 10, prob: float = 0.5) -> None:
        if int(pad) != pad or pad < 0:
            raise ValueError(f"found PAD {pad!r}; expected a whole number of pixels, 0 or more")
        self.pad, self.prob = int(pad), probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(top, bottom, left, right) in pixels."""
        return tuple(rng.integers(0, self.pad + 1, 4).tolist())

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        top, bottom, left, right = draws
        wide = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT)
        return cv2.resize(wide, (image.shape[1], image.shape[0]))
