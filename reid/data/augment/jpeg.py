"""Compression."""

from __future__ import annotations

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Jpeg(Augmentation):
    """Writes the picture as a JPEG of some quality and reads that again.

    Args:    quality: (low, high), 1 to 100; drawn between them, both included. prob: how often.
    Source:  none in particular; qualities of surveillance cameras lie between.
    """

    def __init__(self, quality: tuple[int, int] = (30, 95), prob: float = 0.5) -> None:
        if not (len(quality) == 2 and all(int(q) == q for q in quality) and 1 <= quality[0] <= quality[1] <= 100):
            raise ValueError(f"found QUALITY {quality!r}; expected (low, high), whole numbers of 1 to 100")
        (self.low, self.high), self.prob = map(int, quality), probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(quality,)."""
        return (int(rng.integers(self.low, self.high + 1)),)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, *draws])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
