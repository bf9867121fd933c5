"""Lines all over the picture, as of a fence."""

from __future__ import annotations

import math

import numpy as np

from reid.data.augment import Augmentation, Draws, probability


class Grid(Augmentation):
    """Draws a square grid of lines one pixel wide over the picture, at any angle and in any colour.

    Args:    cell: (low, high) in pixels, 2 or more; the distance between lines is drawn between them, both included.
             prob: how often.
    Source:  Sovrasov and Sidnev 2020, with cells of 24 to 64 pixels.
    """

    def __init__(self, cell: tuple[int, int] = (24, 64), prob: float = 0.15) -> None:
        if not (len(cell) == 2 and all(int(c) == c for c in cell) and 2 <= cell[0] <= cell[1]):
            raise ValueError(f"found CELL {cell!r}; expected (low, high) in whole pixels, 2 or more")
        (self.low, self.high), self.prob = map(int, cell), probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(cell in pixels, angle in degrees, how far from the middle the first line of each direction runs, red, green, blue)."""
        cell = int(rng.integers(self.low, self.high + 1))
        return (cell, rng.uniform(0, 90), *rng.uniform(0, cell, 2).tolist(), *rng.integers(0, 256, 3).tolist())

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        cell, angle, one, other, *colour = draws
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        height, width = image.shape[:2]
        down = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
        right = np.arange(width, dtype=np.float32) - (width - 1) / 2
        image = image.copy()
        for across in (right * cos + down * sin - one, down * cos - right * sin - other):
            cells = (across + 0.5) / cell
            image[cells - np.floor(cells) < 1 / cell] = colour
        return image
