"""A figure drawn over the picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, probability

LINE, RECTANGLE, CIRCLE = range(3)


class Figures(Augmentation):
    """Draws the outline of one figure over the picture: a line, a rectangle or a circle, in any colour.

    Two points of the picture are drawn: the ends of the line, opposite corners of the rectangle, or a diameter.

    Args:    thickness: (low, high) in pixels, 1 or more; drawn between them, both included. prob: how often.
    Source:  Sovrasov and Sidnev 2020, with a thickness of 1 to 6; how points are drawn is ours.
    """

    def __init__(self, thickness: tuple[int, int] = (1, 6), prob: float = 0.33) -> None:
        if not (len(thickness) == 2 and all(int(t) == t for t in thickness) and 1 <= thickness[0] <= thickness[1]):
            raise ValueError(f"found THICKNESS {thickness!r}; expected (low, high) in whole pixels, 1 or more")
        (self.low, self.high), self.prob = map(int, thickness), probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(kind, thickness, red, green, blue, y and x of one point, y and x of the other)."""
        kind, thickness = int(rng.integers(3)), int(rng.integers(self.low, self.high + 1))
        return (kind, thickness, *rng.integers(0, 256, 3).tolist(), *rng.integers(0, (size, size)).ravel().tolist())

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        kind, thickness, *colour, y0, x0, y1, x1 = draws
        image = image.copy()
        if kind == LINE:
            return cv2.line(image, (x0, y0), (x1, y1), colour, thickness)
        if kind == RECTANGLE:
            return cv2.rectangle(image, (x0, y0), (x1, y1), colour, thickness)
        # In half pixels, as shift=1 has them.
        return cv2.circle(image, (x0 + x1, y0 + y1), round(math.dist((x0, y0), (x1, y1))), colour, thickness, shift=1)
