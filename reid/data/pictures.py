"""From the bytes of a file to a picture. Nothing here imports torch."""

from __future__ import annotations

import functools
import os
import tempfile

import cv2
import numpy as np


def decode(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB, whatever the file holds: grey, one bit, 16 bits or a picture with alpha; None for no picture."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:  # for some damage OpenCV raises, for other damage it returns None
        return None


def hear(data: bytes) -> tuple[np.ndarray | None, str]:
    """What `decode` gives, and the first thing the image libraries say of damage meanwhile; empty if they say nothing.

    OpenCV returns a picture for a JPEG whose middle is damaged; only the library's word on stderr tells. It takes a few
    microseconds. Not for several threads at once: they have one stderr.
    """
    words = _words(os.getpid())
    stderr = os.dup(2)
    os.dup2(words, 2)
    try:
        image = decode(data)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    if not (length := os.lseek(words, 0, os.SEEK_CUR)):
        return image, ""
    os.lseek(words, 0, os.SEEK_SET)
    text = os.read(words, length)
    os.lseek(words, 0, os.SEEK_SET)
    if b"\r" in text:  # of a progress bar, which a thread of its own may draw anew
        os.write(2, text)
        return image, ""
    lines = text.decode(errors="replace").splitlines()
    return image, next((line for line in lines if "libpng warning" not in line), "")


@functools.lru_cache(maxsize=1)
def _words(process: int) -> int:
    """A file for stderr, of one process: after a fork two would write at one position."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
