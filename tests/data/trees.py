"""Fake trees on disk for the tests of the data sets."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from reid.data.records import is_image


def picture(suffix: str = ".jpg", size: tuple[int, int] = (16, 8), value: int = 128) -> bytes:
    """The bytes of a small picture, the same for the same arguments."""
    image = np.full((*size, 3), value, np.uint8)
    image[: size[0] // 2, :, 0] = 30
    return bytes(cv2.imencode(suffix, image)[1])  # a tuple of some formats


def grow(root: Path, *names: str) -> Path:
    """Makes every file named, relative to `root`: pictures real, hard links to one file a suffix; others empty."""
    firsts: dict[str, Path] = {}
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        if suffix not in firsts:
            path.write_bytes(picture(suffix) if is_image(f"x{suffix}") else b"")
            firsts[suffix] = path
        else:
            os.link(firsts[suffix], path)
    return root


def market(root: Path, *, junk: int = 3_819, distractors: int = 2_798) -> Path:
    """Market-1501 at full size, every picture a link to one: the published numbers of people, cameras and pictures."""
    names = []
    for part, first, ids, total in (
        ("bounding_box_train", 2, 751, 12_936),
        ("query", 1001, 750, 3_368),
        ("bounding_box_test", 1001, 750, 13_115),
    ):
        names += [f"{part}/{first + i % ids:04d}_c{1 + i // ids % 6}s1_{i:06d}_00.jpg" for i in range(total)]
    names += [f"bounding_box_test/-1_c1s1_{i:06d}_00.jpg" for i in range(junk)]
    names += [f"bounding_box_test/0000_c1s1_{i:06d}_00.jpg" for i in range(distractors)]
    return grow(root, *names)
