"""Backgrounds: each kind of place is painted once per camera, wider than a picture, and pictures are cut out of it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

_BRIGHT = ((178, 40, 42), (30, 90, 160), (225, 180, 40), (40, 120, 70), (235, 235, 230), (200, 90, 30), (60, 60, 70))


def paint(rng: np.random.Generator, kind: str, height: int, width: int, season: float, sun: float) -> np.ndarray:
    """Paint a background of one of the kinds in `domains.PLACES`: (height, width, 3) uint8 RGB.

    season: 0 winter .. 1 summer, for leaves, grass and snow. sun: 0 flat light .. 1 hard shadows on the ground.
    """
    horizon = int(height * rng.uniform(0.30, 0.58))
    plate = _KINDS[kind](rng, height, width, horizon, season)
    plate *= (0.82 + 0.36 * clouds(rng, height, width, 3))[..., None]
    if sun > 0.3:
        shadow = clouds(rng, height, width, 5) > rng.uniform(0.52, 0.68)
        plate[horizon:] *= (1 - 0.4 * sun * cv2.blur(shadow.astype(np.float32), (7, 5))[horizon:])[..., None]
    # Streets are greyer than clothes, and the air between makes them paler still.
    grey = plate.mean(axis=2, keepdims=True)
    plate = 0.68 * plate + 0.32 * grey
    plate = 0.72 * plate + 0.28 * plate.mean()
    plate = cv2.GaussianBlur(plate, (0, 0), rng.uniform(0.8, 2.2) * height / 256)  # out of focus: no hard blocks
    return np.clip(plate, 4, 250).astype(np.uint8)


def clouds(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Smooth noise (height, width), about 0..1; cells: bumps over the height in the coarsest octave."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = cells * 2**octave
        coarse = rng.random((rows + 1, max(rows * width // height, 1) + 1), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total / (2 - 0.5 ** (octaves - 1))


def _colour(rng: np.random.Generator, low: float, high: float, vivid: float) -> np.ndarray:
    """A colour between these grey levels; vivid: spread of its channels."""
    return np.clip(rng.uniform(low, high) + rng.normal(0, vivid, 3), 8, 245).astype(np.float32)


def _shade(
    rng: np.random.Generator, height: int, width: int, dark: np.ndarray, light: np.ndarray, cells: int
) -> np.ndarray:
    """Cloudy mixture of two colours: (height, width, 3)."""
    weight = clouds(rng, height, width, cells)[..., None]
    return dark * (1 - weight) + light * weight


def _ground(rng: np.random.Generator, plate: np.ndarray, horizon: int, colour: np.ndarray, tiles: float) -> None:
    """Paving in perspective below the horizon; tiles: how strongly its joints show."""
    height, width = len(plate) - horizon, plate.shape[1]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    depth = 1 / (down + 0.12)
    across = (np.arange(width, dtype=np.float32)[None] / height - width / height / 2) * depth
    size = rng.uniform(2.0, 5.0)
    joints = (((across * size) % 1 < 0.08) | ((depth * size * 1.3 + 0 * across) % 1 < 0.10)).astype(np.float32)
    grain = clouds(rng, height, width, 6, 4)
    light = 0.75 + 0.35 * grain + 0.12 * down - tiles * joints * np.clip(down * 2, 0.1, 1)
    plate[horizon:] = colour * light[..., None]


def _boxes(rng: np.random.Generator, plate: np.ndarray, count: int, top: int, foot: int, draw: Callable) -> None:
    """Call draw(plate, x, y, w, h) for objects that stand between two rows."""
    height, width = plate.shape[:2]
    for _ in range(count):
        h = int(rng.uniform(0.10, 0.34) * height)
        draw(
            rng,
            plate,
            int(rng.uniform(-0.05, 1) * width),
            int(rng.uniform(top, foot)) - h,
            int(h * rng.uniform(0.4, 2.2)),
            h,
        )


def _slab(rng: np.random.Generator, plate: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    """A bin, a box, a container: a shaded front with ribs."""
    colour = np.array(_BRIGHT[rng.integers(len(_BRIGHT))]) * rng.uniform(0.35, 1.0)
    cv2.rectangle(plate, (x, y), (x + w, y + h), colour.tolist(), -1)
    for k in range(1, int(rng.integers(2, 7))):
        cv2.line(plate, (x + k * w // 6, y), (x + k * w // 6, y + h), (colour * 0.75).tolist(), max(w // 24, 1))
    cv2.rectangle(plate, (x, y), (x + w, y + max(h // 12, 1)), np.minimum(colour * 1.35, 250).tolist(), -1)


def _car(rng: np.random.Generator, plate: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    w = int(h * rng.uniform(2.0, 3.0))
    colour = np.array([(30, 30, 34), (225, 225, 228), (130, 134, 140), (150, 30, 34), (34, 60, 110)][rng.integers(5)])
    body = np.array([(0, 0.55), (0.1, 0.48), (0.28, 0.08), (0.7, 0.06), (0.88, 0.45), (1, 0.52), (1, 0.88), (0, 0.88)])
    glass = np.array([(0.18, 0.46), (0.31, 0.14), (0.66, 0.13), (0.8, 0.44)])
    for points, paint_with in ((body, colour), (glass, np.array((60, 72, 84)))):
        cv2.fillPoly(plate, [(points * (w, h) + (x, y)).astype(np.int32)], paint_with.tolist(), cv2.LINE_AA)
    for place in (0.2, 0.8):
        cv2.circle(plate, (x + int(place * w), y + int(0.86 * h)), max(int(0.15 * h), 1), (22, 22, 24), -1)


def _tree(rng: np.random.Generator, plate: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    trunk = max(h // 9, 2)
    colour = rng.uniform(40, 90) * np.array((1.0, 0.82, 0.62))
    cv2.line(plate, (x, y + h), (x + int(rng.normal(0, 4)), 0), colour.tolist(), trunk)


def _pole(rng: np.random.Generator, plate: np.ndarray, x: int, y: int, w: int, h: int) -> None:
    cv2.line(plate, (x, y + h), (x, 0), (_colour(rng, 50, 190, 6)).tolist(), max(h // 14, 2))


def _windows(rng: np.random.Generator, plate: np.ndarray, foot: int) -> None:
    """Rows of windows or shutters on a wall above the row `foot`."""
    height, width = plate.shape[:2]
    w, h = int(height * rng.uniform(0.08, 0.2)), int(height * rng.uniform(0.1, 0.26))
    gap, glass = int(w * rng.uniform(0.4, 1.2)), _colour(rng, 40, 120, 10)
    for y in range(int(rng.uniform(-0.6, 0.1) * h), foot - h // 2, h + int(h * rng.uniform(0.3, 0.7))):
        for x in range(int(rng.uniform(0, w)), width, w + gap):
            cv2.rectangle(plate, (x, y), (x + w, y + h), (glass * rng.uniform(0.6, 1.3)).tolist(), -1)
            cv2.rectangle(plate, (x, y), (x + w, y + h), (glass * 0.5 + 90).tolist(), max(w // 14, 1))


def _street(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    wall = _colour(rng, 80, 190, 16)
    plate = np.ascontiguousarray(_shade(rng, height, width, wall * 0.8, np.minimum(wall * 1.15, 245), 4))
    foot = horizon + int(0.06 * height)
    if rng.random() < 0.5:  # bricks
        rows = np.arange(height) % max(height // 48, 3) == 0
        plate[rows] *= 0.86
    _windows(rng, plate, foot)
    _ground(rng, plate, foot, _colour(rng, 90, 165, 5), rng.uniform(0, 0.2))
    _boxes(rng, plate, int(rng.integers(0, 4)), foot, foot + height // 8, _slab)
    _boxes(rng, plate, int(rng.integers(1, 4)), foot, foot + height // 10, _pole)
    return plate


def _park(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    green = np.array((70, 96, 44)) * (0.5 + 0.7 * season) + np.array((96, 84, 66)) * (1 - season) * 0.7
    plate = _shade(rng, height, width, green * 0.35, green * 1.5, 9)
    sky = np.clip((clouds(rng, height, width, 6) - np.linspace(0.35, 1.0, height)[:, None]) * 6, 0, 1)[..., None]
    plate = np.ascontiguousarray(plate * (1 - sky) + np.array((205, 215, 228)) * sky, np.float32)
    _boxes(rng, plate, int(rng.integers(2, 7)), horizon, horizon + height // 12, _tree)
    lawn = np.array((104, 128, 62)) * (0.6 + 0.5 * season) if rng.random() < 0.5 else _colour(rng, 120, 175, 8)
    _ground(rng, plate, horizon, lawn.astype(np.float32), 0.0)
    _boxes(rng, plate, int(rng.integers(0, 3)), horizon, horizon + height // 6, _slab)
    return plate


def _hall(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    wall = _colour(rng, 95, 205, 10)
    plate = np.ascontiguousarray(_shade(rng, height, width, wall * 0.85, np.minimum(wall * 1.1, 245), 2))
    panel = int(height * rng.uniform(0.15, 0.5))
    for x in range(int(rng.uniform(0, panel)), width, panel):
        cv2.line(plate, (x, 0), (x, horizon), (wall * 0.62).tolist(), max(height // 100, 1))
    stripe = int(rng.uniform(0.1, 0.8) * horizon)
    cv2.rectangle(plate, (0, stripe), (width, stripe + height // 20), _colour(rng, 60, 200, 45).tolist(), -1)
    for _ in range(int(rng.integers(1, 5))):  # posters and screens
        x, w, h = int(rng.uniform(0, width)), int(height * rng.uniform(0.1, 0.3)), int(height * rng.uniform(0.1, 0.3))
        cv2.rectangle(plate, (x, stripe), (x + w, stripe + h), _colour(rng, 40, 235, 40).tolist(), -1)
    foot = horizon + int(0.04 * height)
    reflected = plate[:foot][::-1].copy()
    _ground(rng, plate, foot, _colour(rng, 95, 190, 6), rng.uniform(0.05, 0.22))
    rows = min(len(reflected), height - foot)  # a polished floor
    plate[foot : foot + rows] = 0.78 * plate[foot : foot + rows] + 0.22 * reflected[:rows]
    _boxes(rng, plate, int(rng.integers(0, 4)), foot, foot + height // 10, _pole)
    _boxes(rng, plate, int(rng.integers(0, 3)), foot, foot + height // 7, _slab)
    return plate


def _shop(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    plate = np.ascontiguousarray(_shade(rng, height, width, _colour(rng, 30, 70, 8), _colour(rng, 150, 215, 14), 5))
    foot = horizon + int(0.08 * height)
    for _ in range(int(width / height * 9)):  # goods behind the glass
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, foot))
        colour = np.array(_BRIGHT[rng.integers(len(_BRIGHT))]) * rng.uniform(0.4, 1.0)
        cv2.ellipse(
            plate, (x, y), (int(height * rng.uniform(0.015, 0.07)), int(height * rng.uniform(0.02, 0.12))),
            0, 0, 360, colour.tolist(), -1, cv2.LINE_AA,
        )  # fmt: skip
    pillar = int(height * rng.uniform(0.4, 0.9))
    frame = _colour(rng, 40, 200, 25)
    for x in range(int(rng.uniform(0, pillar)), width, pillar):
        cv2.rectangle(plate, (x, 0), (x + height // 24, foot), frame.tolist(), -1)
    cv2.rectangle(plate, (0, 0), (width, int(height * rng.uniform(0.04, 0.16))), _colour(rng, 60, 190, 45).tolist(), -1)
    cv2.rectangle(plate, (0, foot - height // 16), (width, foot), (frame * 0.7).tolist(), -1)
    _ground(rng, plate, foot, _colour(rng, 95, 170, 6), rng.uniform(0, 0.2))
    _boxes(rng, plate, int(rng.integers(0, 4)), foot, foot + height // 8, _slab)
    return plate


def _road(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    sky = _colour(rng, 150, 215, 10)
    plate = np.ascontiguousarray(_shade(rng, height, width, sky * 0.7, np.minimum(sky * 1.1, 248), 4))
    skyline = int(horizon * rng.uniform(0.1, 0.7))
    for x in range(0, width, height // 4):
        top = skyline + int(rng.normal(0, 0.08) * height)
        cv2.rectangle(plate, (x, max(top, 0)), (x + height // 3, horizon), _colour(rng, 60, 150, 10).tolist(), -1)
    _ground(rng, plate, horizon, _colour(rng, 75, 125, 4), 0.0)
    for _ in range(int(rng.integers(0, 3))):  # lane lines
        y = int(rng.uniform(horizon + 0.05 * height, height))
        cv2.line(
            plate,
            (0, y),
            (width, y + int(rng.normal(0, 0.1) * height)),
            (205, 205, 198),
            max(height // 60, 1),
            cv2.LINE_AA,
        )
    _boxes(rng, plate, int(rng.integers(2, 6)), horizon, horizon + height // 7, _car)
    _boxes(rng, plate, int(rng.integers(0, 4)), horizon, horizon + height // 8, _pole)
    return plate


def _yard(rng: np.random.Generator, height: int, width: int, horizon: int, season: float) -> np.ndarray:
    sky = _colour(rng, 150, 215, 8)
    plate = np.ascontiguousarray(_shade(rng, height, width, sky * 0.75, np.minimum(sky * 1.1, 248), 3))
    if rng.random() < 0.5:  # water up to the quay
        water = int(horizon * rng.uniform(0.3, 0.8))
        plate[water:horizon] = _shade(
            rng, horizon - water, width, _colour(rng, 50, 90, 8), _colour(rng, 110, 160, 8), 3
        )
    _boxes(rng, plate, int(rng.integers(3, 9)), horizon // 2, horizon + height // 16, _slab)
    _ground(rng, plate, horizon, _colour(rng, 100, 200 if season < 0.3 else 160, 5), rng.uniform(0, 0.1))
    rail = _colour(rng, 50, 190, 12).tolist()
    if rng.random() < 0.6:
        top, foot = horizon - int(0.12 * height), horizon + int(0.1 * height)
        for x in range(0, width, height // 8):
            cv2.line(plate, (x, top), (x, foot), rail, max(height // 90, 1))
        for y in (top, (top + foot) // 2):
            cv2.line(plate, (0, y), (width, y), rail, max(height // 80, 1))
    _boxes(rng, plate, int(rng.integers(0, 3)), horizon, horizon + height // 6, _slab)
    return plate


_KINDS = {"street": _street, "park": _park, "hall": _hall, "shop": _shop, "road": _road, "yard": _yard}
