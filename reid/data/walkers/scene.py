"""A picture: a person before a camera, with shadows, passers-by and things in the way."""

from __future__ import annotations

import math

import cv2
import numpy as np

from . import body, figure, tubes
from . import camera as cameras
from .body import Person
from .camera import Camera
from .domains import Domain, Prior
from .figure import View

_FINER = 2  # the canvas is drawn this many times finer than the picture: edges come out smooth


def cast(domain: Domain, pid: int, seed: int) -> Person:
    """The identity `pid` of a place. Passers-by have negative numbers: they are nobody in the set."""
    return body.person(np.random.default_rng((seed, domain.key, 0, pid % 2**32)), domain.prior)


def photograph(
    domain: Domain, person: Person, camera_number: int, key: tuple[int, ...], size: tuple[int, int], seed: int
) -> np.ndarray:
    """One picture of a person by one camera of a place: (height, width, 3) uint8 RGB.

    key: numbers that make this picture's chance its own. size: height and width, px.
    """
    rng = np.random.default_rng((seed, domain.key, 2, *key))
    shape = size[0] * _FINER, size[1] * _FINER
    camera = cameras.build(domain, camera_number, seed, *shape)
    prior = domain.prior
    canvas = _background(rng, camera, shape)
    if rng.random() < prior.crowd:
        other = cast(domain, -1 - int(rng.integers(12)), seed)
        side = rng.choice([-1, 1]) * rng.uniform(0.28, 0.5) * shape[0] / 2
        _place(rng, canvas, other, camera, _view(rng, camera, prior, shape, side, rng.uniform(0.72, 0.98)))
    _place(rng, canvas, person, camera, _view(rng, camera, prior, shape, 0.0, 1.0))
    if rng.random() < prior.occluded:
        _occlude(rng, canvas, camera)
    return cameras.shoot(camera, canvas, rng, size)


def _background(rng: np.random.Generator, camera: Camera, shape: tuple[int, int]) -> np.ndarray:
    canvas = _cut(rng, camera, shape, zoom=rng.uniform(0.62, 1.0))
    return canvas[:, ::-1].copy() if rng.random() < 0.5 else canvas


def _cut(rng: np.random.Generator, camera: Camera, shape: tuple[int, int], zoom: float) -> np.ndarray:
    """A piece of one of the camera's backgrounds, (*shape, 3); zoom: share of its height, at most 1."""
    plate = camera.plates[rng.integers(len(camera.plates))]
    tall = zoom * plate.shape[0] / cameras.PLATE_MARGIN
    h, w = int(tall), int(tall * shape[1] / shape[0])
    y, x = rng.integers(0, plate.shape[0] - h + 1), rng.integers(0, plate.shape[1] - w + 1)
    return cv2.resize(plate[y : y + h, x : x + w], (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _view(
    rng: np.random.Generator, camera: Camera, prior: Prior, shape: tuple[int, int], aside: float, scale: float
) -> View:
    """From where the person is seen, and where the crop puts them; aside: px from the middle."""
    height, width = shape
    if rng.random() < camera.along:
        yaw = camera.heading + rng.choice([0.0, math.pi]) + rng.normal(0, 0.25)
    else:
        yaw = rng.integers(8) * math.pi / 4 + rng.normal(0, 0.2)
    loose = 0.02 + 0.08 * prior.loose
    tall = height * 0.93 * scale * math.exp(rng.normal(-0.04 * prior.loose, 0.8 * loose))
    foot = height * (0.965 + rng.normal(0, 0.35 * loose)) - (height * 0.93 - tall) * rng.uniform(0.1, 0.7)
    middle = width * (0.5 + np.clip(rng.normal(0, loose), -0.25, 0.25)) + aside
    return View(float(yaw), max(0.0, camera.pitch + rng.normal(0, 0.04)), float(tall), (float(middle), float(foot)))


def _place(rng: np.random.Generator, canvas: np.ndarray, person: Person, camera: Camera, view: View) -> None:
    """Put a person into the scene, with the shadow they throw."""
    parts = figure.tubes(person, figure.pose(rng), view)
    colour, mask, box = tubes.paint(parts, person.atlas, camera.light, canvas.shape[:2])
    if not mask.size:
        return
    _contact(canvas, view)
    if camera.sun > 0.35:
        _shadow(canvas, mask, box, view, camera)
    cv2.copyTo(colour, mask.view(np.uint8), canvas[box])


def _contact(canvas: np.ndarray, view: View) -> None:
    """The soft dark patch under the feet, without which a figure floats."""
    x, y = view.foot_px
    wide, tall = 0.16 * view.height_px, 0.035 * view.height_px
    rows = slice(max(int(y - 3 * tall), 0), max(min(int(y + 3 * tall), canvas.shape[0]), 0))
    columns = slice(max(int(x - 2.5 * wide), 0), max(min(int(x + 2.5 * wide), canvas.shape[1]), 0))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    down = np.exp(-(((np.arange(rows.start, rows.stop, dtype=np.float32) - y) / tall) ** 2))
    across = np.exp(-(((np.arange(columns.start, columns.stop, dtype=np.float32) - x) / wide) ** 2))
    light = 1 - np.float32(0.5) * down[:, None] * across[None]
    canvas[rows, columns] = cv2.multiply(canvas[rows, columns], cv2.merge([light] * 3), dtype=cv2.CV_8U)


def _shadow(canvas: np.ndarray, mask: np.ndarray, box: tuple[slice, slice], view: View, camera: Camera) -> None:
    """The shadow in hard sun: the figure's outline laid down on the ground, away from the light."""
    x, y = view.foot_px[0] - box[1].start, view.foot_px[1] - box[0].start
    lean, flat = -1.4 * camera.light.right, 0.28
    h, w = canvas.shape[:2]
    # A point of the outline at height k over the feet falls lean k aside and flat k upwards.
    turn = np.array([[1, -lean, view.foot_px[0] - x + lean * y], [0, flat, view.foot_px[1] - flat * y]], np.float32)
    laid = cv2.warpAffine(mask.view(np.uint8) * np.uint8(255), turn, (w, h), flags=cv2.INTER_LINEAR)
    rows = slice(max(int(view.foot_px[1] - 0.3 * view.height_px), 0), max(min(int(view.foot_px[1]) + 8, h), 0))
    if rows.stop <= rows.start:
        return
    light = 1 - np.float32(0.5 * camera.sun / 255) * cv2.blur(laid[rows], (5, 3)).astype(np.float32)
    canvas[rows] = cv2.multiply(canvas[rows], cv2.merge([light] * 3), dtype=cv2.CV_8U)


def _occlude(rng: np.random.Generator, canvas: np.ndarray, camera: Camera) -> None:
    """Something between the camera and the person: a post, a low wall or a hedge, cut from another background."""
    h, w = canvas.shape[:2]
    surface = cv2.convertScaleAbs(_cut(rng, camera, (h, w), zoom=0.8), alpha=rng.uniform(0.55, 1.1))
    mask = np.zeros((h, w), np.uint8)
    if rng.random() < 0.35:
        wide, middle = w * rng.uniform(0.03, 0.09), w * rng.uniform(0.15, 0.85)
        mask[:, max(int(middle - wide), 0) : int(middle + wide)] = 1
    else:
        top = rng.uniform(0.62, 0.88) * h
        waves = cv2.resize(rng.normal(0, 0.03 * h, (1, 7)).astype(np.float32), (w, 1), interpolation=cv2.INTER_CUBIC)
        slope = rng.normal(0, 0.12) * np.arange(w, dtype=np.float32)[None]
        mask[:] = np.arange(h, dtype=np.float32)[:, None] > top + slope + waves * rng.integers(2)
    cv2.copyTo(surface, mask, canvas)
