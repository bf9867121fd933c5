"""RandAugment."""

from __future__ import annotations

import numpy as np

from reid.data.augment import Augmentation, Draws, _operations, probability, within

FACTORS = ("brightness", "colour", "contrast", "sharpness")
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
NAMES = ("identity", "autocontrast", "equalize", "solarize", "posterize", *FACTORS, *MOVES)
HIGHEST = 30.0  # of the scale of magnitudes


class RandAugment(Augmentation):
    """A few of 14 operations, each drawn from all with replacement, at one strength.

    At magnitude 30, the highest: rotation by 30 degrees, shear by 0.3, translation by 45% of the side, factors of colour,
    contrast, brightness and sharpness of 1 - 0.9 or 1 + 0.9, solarize from 0 on, posterize to 4 bits; below it linearly
    less. Directions and signs are drawn.

    Args:    operations: how many follow each other, 0 or more. magnitude: 0 to 30. prob: how often.
    Source:  Cubuk et al. 2020, with torchvision's ranges; factors go both ways, as there.
    """

    def __init__(self, operations: int = 2, magnitude: float = 10.0, prob: float = 1.0) -> None:
        if int(operations) != operations or operations < 0:
            raise ValueError(f"found OPERATIONS {operations!r}; expected a whole number of 0 or more")
        self.operations = int(operations)
        self.strength = within("MAGNITUDE", magnitude, 0, HIGHEST, "0 to 30") / HIGHEST
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """((number of the operation in NAMES, its number), ...)."""
        draws = []
        for _ in range(self.operations):
            chosen, sign = int(rng.integers(len(NAMES))), 1 if rng.random() < 0.5 else -1
            draws.append((chosen, _value(NAMES[chosen], self.strength, sign, size)))
        return tuple(draws)

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        for chosen, value in draws:
            image = getattr(_operations, NAMES[chosen])(image, value)
        return image


def _value(name: str, strength: float, sign: int, size: tuple[int, int]) -> float:
    """What the operation is given at `strength`, 0 to 1, for a picture of `size`."""
    if name in FACTORS:
        return 1 + sign * 0.9 * strength
    if name in MOVES:
        most = dict(zip(MOVES, (30, 0.3, 0.3, 150 / 331 * size[1], 150 / 331 * size[0]), strict=True))[name]
        value = sign * strength * most
        return round(value) if name.startswith("translate") else value
    return {"solarize": 255 * (1 - strength), "posterize": 8 - round(4 * strength)}.get(name, 0)
