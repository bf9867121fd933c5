"""A small turn."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _affine, probability, within


class Rotation(Augmentation):
    """Turns the picture about its middle; what comes in is black.

    Args:    degrees: 0 to 180; an angle is drawn from -degrees to degrees. prob: how often.
    Source:  Liao and Shao 2020 (QAConv) turn by up to 5 degrees; Sovrasov and Sidnev 2020 a third of the pictures.
    """

    def __init__(self, degrees: float = 5.0, prob: float = 0.33) -> None:
        self.degrees = within("DEGREES", degrees, 0, 180, "0 to 180 degrees")
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(degrees counter-clockwise,)."""
        return (rng.uniform(-self.degrees, self.degrees),)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        return _affine.rotated(image, *draws)
