"""From the bytes of a file to a picture. Nothing here imports torch."""

from __future__ import annotations

import cv2
import numpy as np


def decode(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB, whatever the file holds: grey, one bit, 16 bits or a picture with alpha; None for no picture."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:  # for some damage OpenCV raises, for other damage it returns None
        return None
