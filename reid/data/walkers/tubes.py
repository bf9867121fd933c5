"""The one primitive: a textured tube between two points, and pictures made of tubes, painted back to front.

Only the geometry is drawn tube by tube (which tube, how far along, how far across); colour and light are looked up
once for the whole figure. So a tube costs a dozen small array operations, whatever it wears.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

STEPS = 64  # samples of a half-width along its axis
TURN = 96  # texture columns in one whole turn; the front is the middle one
_WRAP = TURN // 4  # columns repeated on each side: a turned tube shows angles from -1.5 pi to 1.5 pi
_NOWHERE = np.float32(1e6)  # 1 / half-width beyond the ends: no offset is small enough to be inside


class Tube(NamedTuple):
    """A tube on the picture.

    start, end: (x, y) of the axis, px. radius: (STEPS,) half-width from start to end, px.
    turn: how far its front is turned to the right of the picture, rad, -pi..pi.
    rows: first and last row of its texture in the atlas.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    radius: np.ndarray
    turn: float
    rows: tuple[float, float]


class Light(NamedTuple):
    """Where light comes from: right, up, towards the camera (a unit vector); and the share that has no direction."""

    right: float
    up: float
    front: float
    ambient: float


def wrap(texture: np.ndarray) -> np.ndarray:
    """Repeat the columns of textures (R, TURN, 3) so that a turned tube needs no modulo: (R, 1.5 TURN, 3)."""
    return np.concatenate([texture[:, -_WRAP:], texture, texture[:, :_WRAP]], axis=1)


def profile(*points: tuple[float, float]) -> np.ndarray:
    """A smooth (STEPS,) curve through (place, value) points, places 0..1 ascending."""
    places, values = zip(*points, strict=True)
    curve = np.interp(np.linspace(0, 1, STEPS), places, values).astype(np.float32)
    return cv2.blur(curve[:, None], (1, 5), borderType=cv2.BORDER_REPLICATE)[:, 0]


def capsule(
    start: Sequence[float], end: Sequence[float], radius: np.ndarray
) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
    """Round both ends of a limb, so that one that points at the camera is still a disc: (start, end, radius)."""
    dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
    length = math.hypot(dx, dy)
    ex, ey = (dx / length, dy / length) if length > 1e-3 else (0.0, 1.0)
    first, last = float(radius[0]), float(radius[-1])
    total = length + first + last
    place = _PLACES * total
    full = np.interp(place - first, _PLACES * max(length, 1e-3), radius)
    # The cap's own half-width: a circle around the joint.
    ends = np.minimum(np.where(place < first, first - place, 0.0) / max(first, 1e-3), 1.0)
    ends += np.minimum(np.where(place > total - last, place - total + last, 0.0) / max(last, 1e-3), 1.0)
    full *= np.sqrt(np.maximum(1.0 - ends * ends, 0.0))
    return (
        (float(start[0]) - ex * first, float(start[1]) - ey * first),
        (float(end[0]) + ex * last, float(end[1]) + ey * last),
        full.astype(np.float32),
    )


_PLACES = np.linspace(0, 1, STEPS)


def paint(
    tubes: Sequence[Tube], atlas: np.ndarray, light: Light, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """Paint tubes, the first one farthest away.

    Args:    atlas: (rows, 1.5 TURN, 3) uint8, all textures under each other, from `wrap`.
             shape: height and width of the picture, px.
    Returns: colour (h, w, 3) uint8 and mask (h, w) bool of the part of the picture that the tubes may touch, and
             that part as (rows, columns).
    """
    boxes = [_bounds(tube, shape) for tube in tubes]
    box = _union(rows for rows, _ in boxes), _union(columns for _, columns in boxes)
    index, along, across = _rasterise(tubes, boxes, shape)
    index, along, across = index[box], along[box], across[box]
    if not index.size:  # wholly outside the picture
        return np.zeros((*index.shape, 3), np.uint8), index > 0, box

    rows = np.array([(0, 0), *(tube.rows for tube in tubes)], np.float32)
    axes = np.array([(0, 1), *(_direction(tube) for tube in tubes)], np.float32)
    turns = np.array([0, *(tube.turn for tube in tubes)], np.float32)
    sideways = axes[:, 1] * light.right + axes[:, 0] * light.up  # the light along the direction across each tube

    scale = (rows[:, 1] - rows[:, 0]) / STEPS
    row = rows[:, 0].take(index) + along * scale.take(index)
    centre = _WRAP + TURN / 2 - 0.5
    column = (np.arcsin(across) - turns.take(index)) * np.float32(TURN / (2 * math.pi)) + np.float32(centre)
    colour = cv2.remap(atlas, column, row, cv2.INTER_LINEAR)

    facing = np.sqrt(1.0 - across * across)
    lit = np.maximum(sideways.take(index) * across + np.float32(light.front) * facing, 0)
    shade = np.float32(light.ambient) * (0.55 + 0.45 * facing) + np.float32(1.15 * (1 - light.ambient)) * lit
    shaded = cv2.multiply(colour, cv2.merge([shade, shade, shade]), dtype=cv2.CV_8U)
    return shaded, index > 0, box


def _rasterise(
    tubes: Sequence[Tube], boxes: Sequence[tuple[slice, slice]], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel (h, w): the tube it shows (0 none, 1 the first), steps along its axis, and -1..1 across it."""
    index = np.zeros(shape, np.uint8)
    along = np.zeros(shape, np.float32)
    across = np.zeros(shape, np.float32)
    xs, ys = _grid(shape)
    for number, (tube, box) in enumerate(zip(tubes, boxes, strict=True), 1):
        rows, columns = box
        if rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        ex, ey = _direction(tube)
        steps = STEPS / max(math.dist(tube.start, tube.end), 1e-3)
        x = xs[:, columns] - np.float32(tube.start[0])
        y = ys[rows] - np.float32(tube.start[1])
        t = y * np.float32(ey * steps) + x * np.float32(ex * steps)  # (h, w) 0..STEPS between the ends
        inverse = np.empty(STEPS + 2, np.float32)
        inverse[0] = inverse[-1] = _NOWHERE
        inverse[1:-1] = 1.0 / np.maximum(tube.radius, 1e-3)
        u = inverse.take((t + 1).astype(np.int32), mode="clip")
        u *= x * np.float32(ey) - y * np.float32(ex)
        inside = np.abs(u) < 1
        np.copyto(index[box], number, where=inside)
        np.copyto(along[box], t, where=inside)
        np.copyto(across[box], u, where=inside)
    return index, along, across


@functools.lru_cache(maxsize=8)
def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(shape[1], dtype=np.float32)[None] + 0.5, np.arange(shape[0], dtype=np.float32)[:, None] + 0.5


def _direction(tube: Tube) -> tuple[float, float]:
    length = max(math.dist(tube.start, tube.end), 1e-3)
    return (tube.end[0] - tube.start[0]) / length, (tube.end[1] - tube.start[1]) / length


def _bounds(tube: Tube, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the picture that a tube may touch; empty slices where it is outside."""
    (x0, y0), (x1, y1), reach = tube.start, tube.end, float(tube.radius.max())
    return _span(y0, y1, reach, shape[0]), _span(x0, x1, reach, shape[1])


def _span(a: float, b: float, reach: float, size: int) -> slice:
    low, high = (a, b) if a < b else (b, a)
    first = min(max(int(low - reach), 0), size)
    return slice(first, max(min(int(high + reach) + 1, size), first))


def _union(spans: Iterable[slice]) -> slice:
    """From the first to the last row or column of all spans that are not empty."""
    full = [span for span in spans if span.stop > span.start]
    return slice(min((s.start for s in full), default=0), max((s.stop for s in full), default=0))
