"""Brightness, contrast, saturation and histograms of (H, W, 3) uint8 RGB pictures, for several augmentations."""

from __future__ import annotations

import cv2
import numpy as np

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and PIL weigh R, G, B


def histograms(image: np.ndarray) -> np.ndarray:
    """(3, 256) float64: how often each value stands in each channel."""
    return np.stack([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)]).astype(float)


def rescaled(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Pixels times `brightness`; then their distance from the picture's mean grey times `contrast`."""
    # Both are functions of one value, so the two are one look-up.
    levels = np.clip(np.arange(256) * brightness, 0, 255)
    means = [float(levels @ histogram) for histogram in histograms(image)]
    middle = float(np.dot(GREY, means)) / (image.shape[0] * image.shape[1])
    levels = np.clip(middle + (levels - middle) * contrast, 0, 255)
    return cv2.LUT(image, np.rint(levels).astype(np.uint8))


def grey(image: np.ndarray) -> np.ndarray:
    """Each pixel's grey in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def saturated(image: np.ndarray, factor: float) -> np.ndarray:
    """Each pixel's distance from its own grey times `factor`."""
    return cv2.addWeighted(image, factor, grey(image), 1 - factor, 0)
