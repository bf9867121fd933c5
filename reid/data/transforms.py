"""From a decoded picture to one of a batch: (H, W, 3) uint8 RGB in, the same form in one size out.

OpenCV on uint8 throughout: normalising is the encoder's work, on its device. Measured against the same steps on PIL in
`benchmarks/loader.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws

INTERPOLATIONS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}


class Test:
    """Resize to `size`; with crop < 1 resize to size / crop and cut the middle out.

    Args:
        size: (height, width) in pixels. interpolation: bilinear, bicubic, area or nearest. crop: above 0, up to 1.
    Raises ValueError for anything else.
    """

    __test__ = False  # not a test, though pytest would take its name for one

    def __init__(self, size: tuple[int, int] = (256, 128), interpolation: str = "bilinear", crop: float = 1.0) -> None:
        self.size, self.interpolation = _size(size), _interpolation(interpolation)
        if not 0 < crop <= 1:
            raise ValueError(f"transform: found CROP {crop!r}; expected above 0 and up to 1")
        self.whole = (round(self.size[0] / crop), round(self.size[1] / crop))

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """(H, W, 3) -> (*size, 3) uint8; nothing is drawn from `rng`."""
        image = _resize(image, self.whole, self.interpolation)
        y, x = ((whole - size) // 2 for whole, size in zip(self.whole, self.size, strict=True))
        return image[y : y + self.size[0], x : x + self.size[1]]


class Train:
    """Resize, and what a list of augmentations does, one after the other.

    Args:
        size: (height, width) in pixels. interpolation: bilinear, bicubic, area or nearest.
        augment: the augmentations. They take the resized picture, but the first may take it as it was decoded.
    Raises ValueError for a size or an interpolation that is none, and for an augmentation out of its place.
    """

    def __init__(
        self, size: tuple[int, int] = (256, 128), interpolation: str = "bilinear", augment: Sequence[Augmentation] = ()
    ) -> None:
        self.size, self.interpolation, self.augment = _size(size), _interpolation(interpolation), tuple(augment)
        for step in self.augment[1:]:
            if step.before_resize:
                raise ValueError(
                    f"transform: found {type(step).__name__} behind another augmentation; expected it first in the list: "
                    "it takes the picture before it is resized"
                )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) -> (*size, 3) uint8. Equal generators give equal pictures."""
        return self.apply(image, self.draw(rng, image.shape[:2]))

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> list[Draws | None]:
        """What each augmentation does to a decoded picture of `size` (height, width); None: nothing."""
        draws: list[Draws | None] = []
        for step in self.augment:
            happens = step.prob is None or rng.random() < step.prob
            draws.append(step.draw(rng, size if step.before_resize else self.size) if happens else None)
        return draws

    def apply(self, image: np.ndarray, draws: Sequence[Draws | None]) -> np.ndarray:
        """(H, W, 3) -> (*size, 3) uint8, from the picture and what was drawn for it."""
        for step, drawn in zip(self.augment, draws, strict=True):
            if not step.before_resize:
                image = _resize(image, self.size, self.interpolation)
            if drawn is not None:
                image = step.apply(image, drawn)
        return _resize(image, self.size, self.interpolation)


def _size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
        raise ValueError(f"transform: found SIZE {size!r}; expected (height, width) in pixels")
    return int(size[0]), int(size[1])


def _interpolation(name: str) -> int:
    if name not in INTERPOLATIONS:
        raise ValueError(f"transform: found INTERPOLATION {name!r}; expected {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[name]


def _resize(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size[::-1], interpolation=interpolation)
