"""A contact sheet: the first identities of some domains, a row each, as their cameras see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import scene
from .domains import find


def sheet(
    names: Sequence[str], people: int, pictures: int, size: tuple[int, int] = (128, 64), seed: int = 0
) -> np.ndarray:
    """`people` rows for each domain, in each `pictures` by all cameras in turn: (rows * height, pictures * width, 3) uint8."""
    rows = []
    for place in map(find, names):
        for pid in range(1, people + 1):
            person = scene.cast(place, pid, seed)
            cameras = [k % place.cameras + 1 for k in range(pictures)]
            shots = [scene.photograph(place, person, c, (pid, k), size, seed) for k, c in enumerate(cameras)]
            rows.append(np.concatenate(shots, axis=1))
    return np.concatenate(rows)
