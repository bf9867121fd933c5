"""What other programs do to a picture: they resize bilinearly, whatever a card says; and how far that moves a vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from reid.export.card import Card

SIZES = ((37, 19), (53, 31), (97, 41), (131, 67), (199, 83), (255, 129), (317, 151), (421, 203))  # px, as boxes come
ENOUGH = 0.99  # the cosine below which a tracker's vectors are no longer those that were scored


def compare(
    embed: Callable[[np.ndarray], np.ndarray],
    transform: Callable[[np.ndarray], np.ndarray],
    size: tuple[int, int],
    pictures: Sequence[np.ndarray],
) -> Card:
    """`mean` and `least` cosine between the vectors of pictures as they are scored and as trackers resize them.

    embed: (B, 3, H, W) uint8 RGB -> (B, D). transform: as in scoring. size: (height, width) of the input. pictures:
    (H, W, 3) uint8 RGB; they are brought to SIZES in turn first, by area where that is smaller, else bilinearly.
    Trackers: `cv2.resize` with INTER_LINEAR to the whole input, as BoxMOT and DeepSORT do.
    """
    odd = [_resized(picture, SIZES[i % len(SIZES)]) for i, picture in enumerate(pictures)]
    theirs = [cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR) for picture in odd]
    sides = [embed(np.stack(each).transpose(0, 3, 1, 2)) for each in ([transform(picture) for picture in odd], theirs)]
    one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    cosines = (one * other).sum(axis=1)
    return {"mean": round(float(cosines.mean()), 4), "least": round(float(cosines.min()), 4)}


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
