"""The operations that RandAugment and AugMix choose from: (H, W, 3) uint8 RGB and a number -> the same kind of picture.

They are those of PIL, on which both papers are built, up to a rounding; moves look pixels up bilinearly.
"""

from __future__ import annotations

import cv2
import numpy as np

from reid.data.augment import _affine, _colour

SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def identity(image: np.ndarray, _: float) -> np.ndarray:
    """The picture as it is."""
    return image


def autocontrast(image: np.ndarray, _: float) -> np.ndarray:
    """Each channel stretched linearly, its smallest value to 0 and its largest to 255; one of a single value stays."""
    tables = [np.arange(256.0) for _ in range(3)]
    for channel, histogram in enumerate(_colour.histograms(image)):
        low, high = np.flatnonzero(histogram)[[0, -1]]
        if high > low:
            tables[channel] = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)
    return _looked_up(image, tables)


def equalize(image: np.ndarray, _: float) -> np.ndarray:
    """Each channel's values replaced by their share of the pixels that are darker, as PIL counts them in whole steps."""
    tables = [np.arange(256.0) for _ in range(3)]
    for channel, histogram in enumerate(_colour.histograms(image)):
        last = histogram[np.flatnonzero(histogram)[-1]]
        step = (histogram.sum() - last) // 255
        if step:
            darker = np.cumsum(histogram) - histogram
            tables[channel] = np.minimum((step // 2 + darker) // step, 255)
    return _looked_up(image, tables)


def posterize(image: np.ndarray, bits: float) -> np.ndarray:
    """Only the highest `bits` of each value are kept, 0 to 8."""
    return image & np.uint8(256 - 2 ** (8 - int(bits)))


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """Values from `threshold` on are inverted."""
    values = np.arange(256.0)
    return _looked_up(image, [np.where(values < threshold, values, 255 - values)] * 3)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Pixels times `factor`."""
    return _colour.rescaled(image, factor, 1)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Distances from the picture's mean grey times `factor`."""
    return _colour.rescaled(image, 1, factor)


def colour(image: np.ndarray, factor: float) -> np.ndarray:
    """Distances of pixels from their own grey times `factor`."""
    return _colour.saturated(image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Distances from the picture smoothed by SMOOTH times `factor`; the outermost pixels stay."""
    smooth = cv2.filter2D(image, -1, SMOOTH)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        smooth[edge] = image[edge]
    return cv2.addWeighted(image, factor, smooth, 1 - factor, 0)


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counter-clockwise about the middle."""
    return _affine.rotated(image, degrees)


def shear_x(image: np.ndarray, share: float) -> np.ndarray:
    """Row y moves to the left by share * y pixels."""
    return _affine.mapped(image, ((1, share, 0), (0, 1, 0)))


def shear_y(image: np.ndarray, share: float) -> np.ndarray:
    """Column x moves up by share * x pixels."""
    return _affine.mapped(image, ((1, 0, 0), (share, 1, 0)))


def translate_x(image: np.ndarray, pixels: float) -> np.ndarray:
    """Moved to the left."""
    return _affine.mapped(image, ((1, 0, pixels), (0, 1, 0)))


def translate_y(image: np.ndarray, pixels: float) -> np.ndarray:
    """Moved up."""
    return _affine.mapped(image, ((1, 0, 0), (0, 1, pixels)))


def _looked_up(image: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    """Each channel through its own table of 256 values."""
    return cv2.LUT(image, np.rint(np.stack(tables, axis=1)).astype(np.uint8)[:, None])
