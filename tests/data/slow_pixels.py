"""What augmentations do to pixels, said again in float64 with plain loops; and pictures to do it to."""

from __future__ import annotations

import math

import cv2
import numpy as np


def noise(height: int = 20, width: int = 12, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8, every pixel on its own."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height: int = 32, width: int = 20, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 that changes slowly from pixel to pixel, so that a small error of place is a small error."""
    coarse = np.random.default_rng(seed).integers(40, 216, (3, 3, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W) float64."""
    return image.astype(float) @ (0.299, 0.587, 0.114)


def at(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """(3,) float64: the picture between its pixels, bilinearly; black outside."""
    top, left = math.floor(y), math.floor(x)
    total = np.zeros(3)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row, column]
    return total


def moved(image: np.ndarray, where) -> np.ndarray:
    """(H, W, 3) float64: the result at (y, x) is the picture at where(y, x)."""
    rows, columns = range(image.shape[0]), range(image.shape[1])
    return np.array([[at(image, *where(y, x)) for x in columns] for y in rows])


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the middle."""
    angle, middle = math.radians(degrees), (np.array(image.shape[:2]) - 1) / 2

    def where(y: float, x: float) -> tuple[float, float]:
        up, right = middle[0] - y, x - middle[1]
        # The result's point was turned to where it is: back by the angle.
        right, up = (
            right * math.cos(angle) + up * math.sin(angle),
            up * math.cos(angle) - right * math.sin(angle),
        )
        return middle[0] - up, middle[1] + right

    return moved(image, where)


def enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float64, bilinearly between the middles of pixels; beyond the last ones, these."""
    result = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            row = min(max((y + 0.5) * image.shape[0] / height - 0.5, 0), image.shape[0] - 1)
            column = min(max((x + 0.5) * image.shape[1] / width - 0.5, 0), image.shape[1] - 1)
            result[y, x] = at(image, row, column)
    return result


def distance(point: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """From a point to the segment between two others."""
    along = other - one
    length = float(along @ along)
    share = min(max(float((point - one) @ along) / length, 0), 1) if length else 0
    return float(np.linalg.norm(point - one - share * along))
