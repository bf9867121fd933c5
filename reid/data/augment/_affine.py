"""Moves of the plane: each pixel of the result is looked up in the picture, bilinearly; black comes in from outside."""

from __future__ import annotations

import math

import cv2
import numpy as np


def mapped(image: np.ndarray, matrix: tuple[tuple[float, float, float], tuple[float, float, float]]) -> np.ndarray:
    """The result at (x, y) is the picture at `matrix` times (x, y, 1)."""
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, np.array(matrix, float), size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counter-clockwise about the middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    return mapped(image, ((cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y)))
