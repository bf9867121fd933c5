"""Brightness, contrast, saturation and hue."""

from __future__ import annotations

import math

import cv2
import numpy as np

from reid.data.augment import Augmentation, Draws, _colour, probability, within


class Jitter(Augmentation):
    """Brightness, contrast, saturation and hue, always in this order.

    Args:    brightness, contrast, saturation: strengths of 0 or more; a factor is drawn from 1 - strength, at least 0,
             to 1 + strength. It multiplies the pixels, their distance from the picture's mean grey, or their distance
             from their own grey.
             hue: 0 to 0.5; colours are turned by -hue to hue of the circle. prob: of the jitter.
    """

    def __init__(
        self,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 0.1,
        prob: float = 1.0,
    ) -> None:
        self.strengths = (brightness, contrast, saturation)
        for name, strength in zip(("BRIGHTNESS", "CONTRAST", "SATURATION"), self.strengths, strict=True):
            within(name, strength, 0, math.inf, "a strength of 0 or more")
        self.hue = within("HUE", hue, 0, 0.5, "0 to 0.5 of the circle")
        self.prob = probability(prob)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draws:
        """(brightness, contrast, saturation) as factors, and the hue's turn."""
        factors = [rng.uniform(max(0, 1 - strength), 1 + strength) for strength in self.strengths]
        return (*factors, rng.uniform(-self.hue, self.hue))

    def apply(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        brightness, contrast, saturation, turn = draws
        if brightness != 1 or contrast != 1:
            image = _colour.rescaled(image, brightness, contrast)
        if saturation != 1:
            image = _colour.saturated(image, saturation)
        if turn:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            # OpenCV counts the circle in 180 steps, to fit a byte.
            hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turn * 180)) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return image
