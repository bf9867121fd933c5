"""A camera: where it stands, what light falls there, and what its sensor makes of it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from . import plates
from .domains import PLACES, Domain
from .tubes import Light

_NUM_PLATES = (5, 9)  # several backgrounds to a camera, or the background tells who it is
PLATE_MARGIN = 1.15  # a background is so much higher than a cut of it at zoom 1
_FINEST = 512  # rows of a background's cut: it is out of focus anyway, and a camera's backgrounds stay in memory
_COARSEST, _SHARPEST = 24, 600  # rows a camera may see a picture with
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Camera:
    """One camera of a place. All of it is fixed but for what `shoot` draws anew for each picture.

    heading: the direction people walk in before it, rad; along: how many keep to it. pitch: rad.
    colour: (3, 4) matrix of gains, saturation and nothing else. curve: (256,) tone of each grey level.
    pixels: height at which it saw the picture. blur: px of a picture 128 high. noise: grey levels. quality: JPEG.
    """

    heading: float
    along: float
    pitch: float
    light: Light
    sun: float
    colour: np.ndarray
    curve: np.ndarray
    pixels: float
    blur: float
    noise: float
    quality: int
    plates: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=8)
def build(domain: Domain, number: int, seed: int, height: int, width: int) -> Camera:
    """Camera `number` (from 1) of a place, its backgrounds painted for canvases of this size."""
    rng = np.random.default_rng((seed, domain.key, 1, number))
    prior = domain.prior
    shares = np.array([getattr(prior, place) for place in PLACES])
    home = rng.choice(len(PLACES), p=shares / shares.sum())
    sun = float(np.clip(rng.normal(prior.sun, 0.15), 0, 1))
    tall = int(min(height, _FINEST) * PLATE_MARGIN)
    wide = int(tall * max(2.6, 1.5 * width / height))  # a wide one gives many different cuts
    painted = []
    for _ in range(int(rng.integers(*_NUM_PLATES))):
        kind = home if rng.random() < 0.6 else rng.choice(len(PLACES), p=shares / shares.sum())
        painted.append(plates.paint(rng, PLACES[kind], tall, wide, prior.season, sun))
    side, up = rng.uniform(-1, 1), rng.uniform(0.2, 0.8)
    length = math.sqrt(side * side + up * up + 0.64)
    colour, curve = _sensor(rng, domain, float(np.mean([plate.mean() for plate in painted])))
    return Camera(
        heading=float(rng.uniform(-math.pi, math.pi)),
        along=float(np.clip(rng.normal(prior.along, 0.12), 0, 1)),
        pitch=math.radians(max(0.0, rng.normal(prior.pitch, 4))),
        light=Light(side / length, up / length, 0.8 / length, ambient=0.72 - 0.34 * sun),
        sun=sun,
        colour=colour,
        curve=curve,
        pixels=prior.pixels * math.exp(rng.normal(0, 0.18)),
        blur=max(0.0, prior.blur + rng.normal(0, 0.2)),
        noise=max(0.5, prior.noise * math.exp(rng.normal(0, 0.3))),
        quality=int(np.clip(prior.quality + rng.normal(0, 8), 22, 97)),
        plates=tuple(painted),
    )


def _sensor(rng: np.random.Generator, domain: Domain, scene_mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour matrix and tone curve. Exposure follows the scene, so that no camera is nearly black."""
    prior = domain.prior
    warmth = 0.16 * prior.tungsten + rng.normal(0, prior.cast)
    tint = rng.normal(0, prior.cast * 0.6)
    gains = np.exp(np.clip([warmth, -tint, -warmth], -0.32, 0.32))
    level = np.clip(rng.normal(prior.level, 12), 78, 158)
    gains *= np.clip(level / scene_mean, 0.6, 1.6) / (gains @ _GREY)
    vivid = float(np.clip(prior.saturation * math.exp(rng.normal(0, 0.12 + prior.discord)), 0.4, 1.45))
    saturate = vivid * np.eye(3) + (1 - vivid) * _GREY[None]
    colour = np.concatenate([saturate @ np.diag(gains), np.zeros((3, 1))], axis=1).astype(np.float32)
    x = np.arange(256) / 255
    contrast = prior.contrast * math.exp(rng.normal(0, 0.08))
    haze = max(0.0, prior.haze + rng.normal(0, 0.03))
    tone = np.clip(0.45 + contrast * (x - 0.45), 0, 1) ** math.exp(rng.normal(0, 0.10 + prior.discord))
    if prior.discord:
        mixed = np.eye(3) + rng.normal(0, prior.discord, (3, 3))
        # Rows of sum 1 leave greys grey: hues turn, which no gain of a channel undoes.
        colour[:, :3] = mixed / mixed.sum(axis=1, keepdims=True) @ colour[:, :3]
    return colour, np.clip(255 * (haze + (1 - haze) * tone), 0, 255).astype(np.uint8)


def shoot(camera: Camera, canvas: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """What the camera makes of a scene: (height, width, 3) uint8 RGB.

    canvas: the scene, uint8 RGB, at any resolution; it is overwritten. size: height and width of the picture, px.
    """
    height, width = size
    if rng.random() < 0.3:
        _uneven(rng, canvas)
    seen = min(max(camera.pixels * math.exp(rng.normal(0, 0.15)), _COARSEST), _SHARPEST, canvas.shape[0])
    small = cv2.resize(canvas, (max(int(seen * width / height), 8), int(seen)), interpolation=cv2.INTER_AREA)
    sigma = camera.blur * math.exp(rng.normal(0, 0.25)) * seen / 128
    if sigma > 0.3:
        small = cv2.GaussianBlur(small, (0, 0), sigma)
    gain = math.exp(np.clip(rng.normal(0, 0.10), -0.25, 0.25))
    small = cv2.LUT(cv2.transform(small, camera.colour * np.float32(gain)), camera.curve)
    grain = _grain()
    y, x = rng.integers(0, grain.shape[0] - small.shape[0] + 1), rng.integers(0, grain.shape[1] - small.shape[1] + 1)
    patch = grain[y : y + small.shape[0], x : x + small.shape[1]]
    small = cv2.addWeighted(small, 1.0, patch, camera.noise / _GRAIN_SIGMA, -128 * camera.noise / _GRAIN_SIGMA)
    _, packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, camera.quality])
    sent = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert sent is not None, "a JPEG that OpenCV has just written"
    return cv2.resize(sent, (width, height), interpolation=cv2.INTER_AREA if seen > height else cv2.INTER_CUBIC)


_GRAIN_SIGMA = 32.0


@functools.cache
def _grain() -> np.ndarray:
    """A field of sensor noise around 128, made once: pictures take pieces of it, drawing it anew costs half a millisecond."""
    field = np.random.default_rng(0).normal(128, _GRAIN_SIGMA, (_SHARPEST + 200, 2 * _SHARPEST + 200, 3))
    return np.clip(field, 0, 255).astype(np.uint8)


def _uneven(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Light that changes across the picture: a lamp, a doorway, the shade of a roof."""
    coarse = rng.uniform(0.66, 1.22, (3, 2)).astype(np.float32)
    light = cv2.resize(coarse, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_CUBIC)
    cv2.multiply(canvas, cv2.merge([light, light, light]), dst=canvas, dtype=cv2.CV_8U)
