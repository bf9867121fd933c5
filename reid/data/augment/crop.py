"""Padding and a crop of the old size."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws


class Crop(Augmentation):
    """Puts `pad` black pixels around the picture and cuts a box of its own size out of that: a shift within the frame.

    Args:    pad: pixels, 0 or more; each direction is shifted by -pad to pad, all equally likely.
    """

    def __init__(self, pad: int = 10) -> None:
        if int(pad) != pad or pad < 0:
            raise ValueError(f"found PAD {pad!r}; expected a whole number of pixels, 0 or more")
        self.pad = int(pad)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(pixels down, pixels to the right)."""
        return tuple(rng.integers(-self.pad, self.pad + 1, 2).tolist())

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        down, right = draws
        height, width = image.shape[:2]
        shifted = np.zeros_like(image)
        y, x = max(down, 0), max(right, 0)
        rows, columns = max(height - abs(down), 0), max(width - abs(right), 0)
        shifted[y : y + rows, x : x + columns] = image[max(-down, 0) :, max(-right, 0) :][:rows, :columns]
        return shifted
