"""A body at rest: proportions, and how far every part of it and of its clothes stands off the bones.

Lengths are in body heights. In the body's own frame x runs across the shoulders, y up from the ground and z forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import textures
from .clothes import Outfit, dress
from .domains import Prior
from .tubes import STEPS, profile

Shape = tuple[np.ndarray, np.ndarray]  # half-widths along a part, seen from the front and from the side: (STEPS,) each

# Half-widths of the trunk from the neck down: height, then front and side of a slight and of a broad-shouldered build.
_TRUNK = np.array([
    # y     front         side
    (0.872, 0.029, 0.034, 0.030, 0.035),
    (0.852, 0.038, 0.045, 0.035, 0.041),
    (0.836, 0.060, 0.070, 0.041, 0.047),
    (0.818, 0.081, 0.096, 0.050, 0.055),
    (0.790, 0.091, 0.108, 0.060, 0.064),
    (0.730, 0.088, 0.105, 0.070, 0.071),
    (0.660, 0.077, 0.096, 0.060, 0.066),
    (0.610, 0.073, 0.091, 0.053, 0.063),
    (0.550, 0.085, 0.092, 0.059, 0.065),
    (0.500, 0.097, 0.093, 0.068, 0.067),
    (0.440, 0.097, 0.093, 0.068, 0.067),
    (0.280, 0.112, 0.108, 0.086, 0.086),
])  # fmt: skip


@dataclass(frozen=True)
class Person:
    """An identity: the same in every picture.

    shoulder, hip: how far their joints are from the middle. legs: how long they are, 1 as usual. bottom: where the upper
    garment ends on a body of usual legs. atlas: all textures, as `tubes.paint` takes them.
    """

    outfit: Outfit
    shapes: dict[str, Shape]
    shoulder: float
    hip: float
    legs: float
    bottom: float
    atlas: np.ndarray


def person(rng: np.random.Generator, prior: Prior) -> Person:
    """Draw an identity from the priors of a place: a body, an outfit, and its textures."""
    outfit = dress(rng, prior)
    skirted = outfit.bottom.kind in ("skirt", "dress")
    broad = float(
        np.clip(rng.normal(0.25 if skirted or outfit.hairstyle in ("long", "bob", "bun") else 0.75, 0.2), 0, 1)
    )
    heavy = float(np.clip(rng.normal(prior.heavy, 0.24), 0, 1)) - 0.5
    shapes = _shapes(outfit, broad, heavy, head=rng.normal(1, 0.04))
    wide = np.interp(-0.79, -_TRUNK[:, 0], _TRUNK[:, 1] * (1 - broad) + _TRUNK[:, 2] * broad)
    return Person(
        outfit,
        shapes,
        shoulder=float(wide * (1 + 0.25 * heavy)) - 0.012,
        hip=0.043 + 0.012 * heavy,
        legs=float(np.clip(rng.normal(1.0, 0.025), 0.94, 1.06)),
        bottom=textures.lowest(outfit.top),
        atlas=textures.atlas(rng, outfit),
    )


def _shapes(outfit: Outfit, broad: float, heavy: float, head: float) -> dict[str, Shape]:
    top, bottom = outfit.top, outfit.bottom
    thick = 1 + 0.45 * heavy
    sleeve = max(top.ease, 0.004) * 0.55
    shapes = {
        "torso": _trunk(broad, heavy, textures.NECK, textures.lowest(top), top.ease),
        "hips": _trunk(broad, heavy, 0.58, 0.45, min(bottom.ease, 0.006)),
        "neck": _round(profile((0, 0.027), (1, 0.032)) * (0.9 + 0.2 * broad)),
        "upper": _round(profile((0, 0.021), (0.3, 0.029), (1, 0.024)) * thick + _covered(top.sleeve, 0, 0.53, sleeve)),
        "fore": _round(profile((0, 0.024), (0.3, 0.024), (1, 0.016)) * thick + _covered(top.sleeve, 0.53, 1, sleeve)),
        "hand": _round(profile((0, 0.014), (0.5, 0.019), (1, 0.012))),
        "shoe": _round(profile((0, 0.021), (0.5, 0.026), (1, 0.020)) * (1.12 if outfit.shoes.kind == "boots" else 1)),
        "bag": _bag_shape(outfit.bag),
        "strap": _round(profile((0, 0.005), (1, 0.005))),
        "brim": _round(profile((0, 0.022), (1, 0.014)) * head),
        "skirt": _skirt_shape(outfit, broad, heavy),
        **_head_shapes(outfit, head),
    }
    leg = (bottom.reach if bottom.kind not in ("skirt", "dress") else 0.0, bottom.ease)
    flare = 1.5 if bottom.kind == "wide" else 0.25 if bottom.kind in ("joggers", "leggings") else 0.8
    shapes["thigh"] = _round(
        profile((0, 0.052), (0.5, 0.048), (1, 0.037)) * thick + _covered(leg[0], 0.06, 0.53, leg[1])
    )
    shapes["shin"] = _round(
        profile((0, 0.035), (0.3, 0.037), (1, 0.023)) * thick
        + _covered(leg[0], 0.53, 1, leg[1]) * np.linspace(1, flare, STEPS)
        + (0.008 * (np.linspace(0, 1, STEPS) > 0.5) if outfit.shoes.kind == "boots" else 0)
    )
    return shapes


def _round(radius: np.ndarray) -> Shape:
    return radius.astype(np.float32), radius.astype(np.float32)


def _covered(reach: float, first: float, last: float, ease: float) -> np.ndarray:
    """What a sleeve or a trouser leg adds along the part of the limb from first to last: (STEPS,)."""
    return ease * np.clip((reach - np.linspace(first, last, STEPS)) * 40, 0, 1)


def _trunk(broad: float, heavy: float, first: float, last: float, ease: float) -> Shape:
    y = np.linspace(first, last, STEPS)
    belly = np.exp(-(((y - 0.60) / 0.13) ** 2))
    # Cloth stands off below the shoulders only: on top of them it lies on the body, or they look puffed.
    ease_here = ease * np.clip((0.86 - y) * 14, 0.15, 1)
    front, side = (np.interp(-y, -_TRUNK[:, 0], _TRUNK[:, k] * (1 - broad) + _TRUNK[:, k + 1] * broad) for k in (1, 3))
    front = front * (1 + heavy * (0.25 + 0.25 * belly)) + ease_here
    side = side * (1 + heavy * (0.35 + 0.65 * belly)) + ease_here
    return front.astype(np.float32), side.astype(np.float32)


def _head_shapes(outfit: Outfit, head: float) -> dict[str, Shape]:
    t = np.linspace(0, 1, STEPS)
    dome = np.sqrt(np.clip(1 - ((t - 0.5) / 0.5) ** 2, 0, 1))
    hair = {"bald": 0.0, "crop": 0.002, "short": 0.005, "curly": 0.018, "bob": 0.008, "long": 0.007}.get(
        outfit.hairstyle, 0.004
    )
    worn = {"beanie": 0.006, "cap": 0.005, "hood": 0.013, "scarf": 0.006, "": hair}[outfit.hat]
    volume = worn * np.clip((0.75 - t) * 4, 0, 1) * np.minimum(dome * 1.6, 1)
    jaw = 1 - 0.24 * np.clip((t - 0.55) / 0.45, 0, 1) ** 1.5
    mane = {
        "bob": profile((0, 0.02), (0.15, 0.046), (0.7, 0.054), (0.95, 0.050), (1, 0.03)),
        "long": profile((0, 0.02), (0.1, 0.044), (0.5, 0.054), (0.9, 0.048), (1, 0.02)),
        "ponytail": profile((0, 0.010), (0.3, 0.018), (0.8, 0.013), (1, 0.004)),
        "bun": profile((0, 0.018), (1, 0.018)),
    }.get("" if outfit.hat in ("hood", "scarf") else outfit.hairstyle, profile((0, 0.03), (0.3, 0.05), (1, 0.06)))
    return {
        "head": (
            ((0.043 * dome**0.8 * jaw + volume) * head).astype(np.float32),
            ((0.052 * dome**0.8 * (0.4 + 0.6 * jaw) + volume) * head).astype(np.float32),
        ),
        "mane": (mane * np.float32(head), mane * np.float32(0.72 * head)),
    }


def _bag_shape(bag: str) -> Shape:
    wide, deep = {
        "backpack": (0.082, 0.050),
        "satchel": (0.055, 0.025),
        "handbag": (0.05, 0.022),
        "tote": (0.062, 0.022),
    }.get(bag, (0.05, 0.03))
    shape = profile((0, 0.35), (0.12, 0.85), (0.3, 0.95), (0.85, 1.0), (0.97, 0.9), (1, 0.6))
    return shape * np.float32(wide), shape * np.float32(deep)


def _skirt_shape(outfit: Outfit, broad: float, heavy: float) -> Shape:
    low = textures.lowest(outfit.bottom)
    front, side = _trunk(broad, heavy, 0.60, low, 0.004)
    flare = (np.linspace(0, 1, STEPS) ** 1.2 * outfit.bottom.ease * (1 + 1.5 * (0.55 - low))).astype(np.float32)
    return front + flare, side + flare
