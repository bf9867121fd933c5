"""No colour."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _colour, probability


class Greyscale(Augmentation):
    """Each pixel becomes its grey, 0.299 R + 0.587 G + 0.114 B, in all three channels.

    Args:    prob: how often.
    Source:  Sovrasov and Sidnev 2020 (a tenth of the pictures).
    """

    def __init__(self, prob: float = 0.1) -> None:
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        return ()

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        return _colour.grey(image)
