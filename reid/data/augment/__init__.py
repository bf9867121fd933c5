"""Augmentations: one file each; the config's NAME is the file's name, the constructor's signature its options.

An augmentation has two halves. `draw` takes every random choice and knows only the picture's size; `apply` makes the
picture from what was drawn, and from nothing else. So draws can be kept, compared, or applied elsewhere. `size` in a
constructor is injected, never an option: (height, width) of the pictures that are trained on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Draws = tuple[Any, ...]  # plain numbers, or tuples of them


class Augmentation:
    """One step from a picture to another one.

    prob: how often a picture is changed, drawn before `draw` is asked; None: always, and nothing is drawn for it.
    before_resize: True where it takes the picture as it was decoded; in a list it stands first. The others take the resized
        picture, and give one of the same size.
    """

    prob: float | None = None
    before_resize = False

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws | None:
        """What is to be done to a picture of `size` (height, width); None: nothing."""
        raise NotImplementedError

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (h, w, 3) uint8 RGB; `image` itself stays as it was."""
        raise NotImplementedError


def within(name: str, value: float, low: float, high: float, expected: str) -> float:
    """`value`, if it is `low` to `high`; else ValueError saying what was `expected` of the option `name`."""
    if not low <= value <= high:
        raise ValueError(f"found {name} {value!r}; expected {expected}")
    return value


def probability(prob: float) -> float:
    """`prob`, if it is one."""
    return within("PROB", prob, 0, 1, "a probability, 0 to 1")
