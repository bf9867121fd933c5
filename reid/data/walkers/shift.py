"""A shift of drawn pictures beyond anything a source has, to tune on: what is chosen on plain drawings alone fails on real people.

Each camera gets a cast, and some see no colour at all; each picture is blurred and cropped. It is fixed by the set's seed.
"""

from __future__ import annotations

import cv2
import numpy as np

CAST = (0.35, 0.55)  # of a camera: natural log of the gains of red and blue, one up and one down; sources end at 0.32
GREY = 0.25  # share of cameras without colour; no source has any
BLUR = (0.8, 2.0)  # of a picture: Gaussian sigma in px of a picture 128 high; sources lie about 0.6 or below
CROP = (0.0, 0.18)  # of a picture: share cut off each side


def apply(image: np.ndarray, camera: tuple[int, ...], picture: tuple[int, ...]) -> np.ndarray:
    """image (H, W, 3) uint8 RGB -> the same size, shifted. camera, picture: the numbers that seed what is drawn for each."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(camera)
    warmth = rng.choice([-1, 1]) * rng.uniform(*CAST)
    gains = np.exp([warmth, rng.uniform(-0.15, 0.15), -warmth])
    grey = rng.random() < GREY
    rng = np.random.default_rng(picture)
    top, bottom, left, right = rng.uniform(*CROP, 4) * (height, height, width, width)
    image = image[int(top) : height - int(bottom), int(left) : width - int(right)]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR) * height / 128)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.clip(image * gains, 0, 255).astype(np.uint8)
