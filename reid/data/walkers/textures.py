"""Paint what a person wears onto textures: rows run along a tube, columns once around it, the front in the middle.

All textures of a person lie under each other in one atlas, so a whole figure is coloured by one look-up.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from .clothes import Colour, Garment, Outfit
from .tubes import TURN, wrap

_HEIGHTS = {
    "torso": 72, "upper": 32, "fore": 32, "hand": 6, "hips": 16, "skirt": 40, "thigh": 40, "shin": 40, "shoe": 16,
    "neck": 8, "head": 48, "mane": 32, "brim": 4, "bag": 32, "strap": 4,
}  # fmt: skip
_STARTS = dict(zip(_HEIGHTS, itertools.accumulate(_HEIGHTS.values(), initial=0), strict=False))
# Half a row in from both ends: a bilinear look-up then never mixes two textures.
ROWS = {name: (_STARTS[name] + 0.5, _STARTS[name] + height - 1.5) for name, height in _HEIGHTS.items()}

# Heights on a standing body of height 1 where things begin and end.
NECK, HEM, ANKLE, ELBOW = 0.872, 0.53, 0.04, 0.53
_ANGLE = ((np.arange(TURN, dtype=np.float32) + 0.5) / TURN * 2 - 1)[None] * np.float32(np.pi)  # (1, TURN)


def lowest(garment: Garment) -> float:
    """The height on the body at which a garment ends."""
    return HEM - garment.reach * (HEM - ANKLE)


def atlas(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    """All textures of a person: (rows, 1.5 TURN, 3) uint8, as `tubes.paint` takes them; `ROWS` says what is where."""
    skin, top, bottom = np.array(outfit.skin, np.float32), outfit.top, outfit.bottom
    legs = _legs(rng, outfit)
    arms = _arms(rng, outfit)
    bottom_cloth = top if bottom.kind == "dress" else bottom
    textures = {
        "torso": _torso(rng, outfit),
        "upper": arms[: _HEIGHTS["upper"]],
        "fore": arms[_HEIGHTS["upper"] :],
        "hand": _flat(6, skin * 0.94),
        "hips": _cloth(rng, bottom_cloth, _down(16, 0.58, 0.45)),
        "skirt": _cloth(rng, bottom_cloth, _down(40, 0.6, lowest(bottom))) * _pleats(rng),
        "thigh": legs[: _HEIGHTS["thigh"]],
        "shin": legs[_HEIGHTS["thigh"] :],
        "shoe": _shoe(outfit.shoes),
        "neck": _flat(8, skin) * np.linspace(0.62, 0.95, 8, dtype=np.float32)[:, None, None],
        "head": _head(rng, outfit),
        "mane": _strands(rng, _cover(outfit), 32),
        "brim": _flat(4, np.array(outfit.hat_colour) * 0.8),
        "bag": _bag(rng, outfit),
        "strap": _flat(4, np.array(outfit.bag_colour) * 0.7),
    }
    whole = np.concatenate([textures[name] for name in _HEIGHTS])
    return wrap(np.clip(whole, 0, 255).astype(np.uint8))


def noise(rng: np.random.Generator, rows: int, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise (rows, TURN) in -1..1 that closes around the tube; cells: bumps along and around."""
    coarse = rng.random((max(cells[0], 1), cells[1]), np.float32) * 2 - 1
    twice = cv2.resize(np.concatenate([coarse, coarse], 1), (2 * TURN, rows), interpolation=cv2.INTER_CUBIC)
    return twice[:, TURN // 2 : TURN // 2 + TURN]


def _flat(rows: int, colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, np.float32), (rows, TURN, 3)).copy()


def _down(rows: int, first: float, last: float) -> np.ndarray:
    """The height on the body of each row: (rows, 1)."""
    return np.linspace(first, last, rows, dtype=np.float32)[:, None]


def _blend(texture: np.ndarray, weight: np.ndarray, colour: Colour | np.ndarray) -> None:
    """Paint a colour over a texture in place, weight (rows, TURN) 0..1."""
    weight = np.broadcast_to(weight, texture.shape[:2]).astype(np.float32)[..., None]
    texture += weight * (np.asarray(colour, np.float32) - texture)


def _cloth(rng: np.random.Generator, garment: Garment, height: np.ndarray) -> np.ndarray:
    """A garment's cloth over these heights: its colour, its pattern and its folds."""
    rows = len(height)
    texture = _flat(rows, np.array(garment.colour))
    if garment.pattern != "plain":
        _blend(texture, _figure(rng, garment, height), garment.second)
    folds = 0.10 * noise(rng, rows, (6, 9)) + 0.06 * noise(rng, rows, (14, 5))
    return texture * (1 + folds)[..., None]


def _figure(rng: np.random.Generator, garment: Garment, height: np.ndarray) -> np.ndarray:
    """Where a pattern shows the second colour: weight (rows, TURN)."""
    a, y, size = _ANGLE, height, garment.scale
    around = np.broadcast_to
    shape = (len(y), TURN)
    if garment.pattern == "stripes":
        return around(np.sin(y * 150 / size) > rng.uniform(-0.3, 0.6), shape)
    if garment.pattern == "pinstripe":
        return around(np.cos(a * round(14 / size)) > 0.72, shape) * 0.8
    if garment.pattern == "check":
        return 0.45 * (np.sin(y * 120 / size) > 0.2) + 0.45 * (np.sin(a * round(9 / size)) > 0.2)
    if garment.pattern == "block":
        return around(y > rng.uniform(0.66, 0.78), shape)
    if garment.pattern == "band":
        middle = rng.uniform(0.6, 0.78)
        return around(np.abs(y - middle) < 0.02 + 0.02 * size, shape)
    if garment.pattern == "dots":
        return (np.sin(y * 140 / size) * np.sin(a * round(8 / size))) > 0.45
    if garment.pattern == "camouflage":
        return 0.9 * (noise(rng, len(y), (9, 12)) > 0.15)
    if garment.pattern == "sides":
        return around(np.abs(np.abs(a) - np.pi / 2) < 0.18 + 0.15 * size, shape)
    if garment.pattern == "gradient":
        return around(np.clip((0.8 - y) * 3.2, 0, 1), shape)
    return _print(rng, y)


def _print(rng: np.random.Generator, height: np.ndarray) -> np.ndarray:
    """An emblem on the chest, sometimes on the back too: a few coarse cells with smoothed edges."""
    cells = (rng.random((5, 6), np.float32) > 0.4).astype(np.float32)
    wide, tall, middle = rng.uniform(0.35, 0.75), rng.uniform(0.03, 0.075), rng.uniform(0.71, 0.76)
    sides = [0.0, np.pi] if rng.random() < 0.35 else [0.0]
    weight = np.zeros((len(height), TURN), np.float32)
    for side in sides:
        offset = (_ANGLE - side + np.pi) % (2 * np.pi) - np.pi
        column = np.broadcast_to((offset / wide + 1) * 3 - 0.5, weight.shape).astype(np.float32)
        row = np.broadcast_to((1 - (height - middle) / tall) * 2.5 - 0.5, weight.shape).astype(np.float32)
        weight = np.maximum(weight, cv2.remap(cells, column, row, cv2.INTER_LINEAR, borderValue=0))
    return weight


def _torso(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    top, a = outfit.top, np.abs(_ANGLE)
    y = _down(_HEIGHTS["torso"], NECK, lowest(top))
    texture = _cloth(rng, top, y)
    if top.kind == "puffer":
        texture *= (0.72 + 0.34 * np.abs(np.sin(y * np.pi / 0.035)) ** 0.6)[..., None]
    deep = {"blazer": 0.15, "shirt": 0.05, "tank": 0.06}.get(top.kind, rng.uniform(0.015, 0.035))
    neckline = np.clip((y - (NECK - deep * np.clip(1 - a / 1.1, 0, 1) - 0.008)) * 150, 0, 1)
    under = top.inner if top.kind == "blazer" else outfit.skin
    _blend(texture, neckline, np.array(under) * 0.92)
    if top.open:
        gap = top.open * (0.7 + 1.6 * (NECK - y))
        _blend(texture, np.clip((gap + 0.08 - a) * 25, 0, 1), np.array(top.colour) * 0.55)
        _blend(texture, np.clip((gap - a) * 25, 0, 1) * (y < 0.855), top.inner)
    elif top.kind in ("jacket", "hoodie", "parka", "puffer", "gilet", "coat", "polo", "shirt"):
        _blend(texture, 0.6 * (a < 0.05), np.array(top.colour) * 0.4 + 40)
    if top.kind in ("hoodie", "parka"):  # the hood lies on the back
        fallen = np.clip((y - 0.79 + 0.05 * (np.pi - a)) * 60, 0, 1) * (a > 1.6)
        _blend(texture, fallen, np.array(top.colour) * 0.72)
    if top.kind in ("shirt", "coat", "jacket", "polo"):
        _blend(texture, 0.5 * (y > 0.852) * (y < 0.868), np.array(top.colour) * 0.6 + 60)
    if top.kind in ("coat", "parka") and rng.random() < 0.5:
        _blend(texture, 0.8 * (np.abs(y - 0.60) < 0.012) * (a > -1), np.array(top.second) * 0.6)
    texture *= (1 - 0.22 * np.exp(-(((a - np.pi / 2) / 0.3) ** 2)) * (y < 0.80))[..., None]  # shade of the arms
    texture[-2:] *= 0.72  # the hem
    _straps(texture, outfit, y)
    return texture


def _straps(texture: np.ndarray, outfit: Outfit, y: np.ndarray) -> None:
    colour = np.array(outfit.bag_second) * 0.6 + np.array(outfit.bag_colour) * 0.2
    if outfit.bag == "backpack":
        _blend(texture, (np.abs(np.abs(_ANGLE) - 0.75) < 0.13) * (y > 0.62), colour)
    elif outfit.bag == "satchel":
        # From the left shoulder to the right hip, in front and behind.
        slope = (y - 0.70) / 0.15
        front = np.abs(_ANGLE + slope) < 0.13
        back = np.abs(np.pi - np.abs(_ANGLE) - slope * -np.sign(_ANGLE)) < 0.13
        _blend(texture, (front | back) * (y > 0.5) * (y < 0.84), colour)


def _arms(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    """Both arm textures under each other; s runs from the shoulder (0) to the wrist (1)."""
    top = outfit.top
    rows = _HEIGHTS["upper"] + _HEIGHTS["fore"]
    s = np.concatenate([np.linspace(0, ELBOW, 32), np.linspace(ELBOW, 1, 32)]).astype(np.float32)[:, None]
    colour = top.inner if top.kind == "gilet" else top.second if top.pattern == "block" else top.colour
    sleeve = _cloth(rng, Garment("sleeve", colour, top.second, _on_sleeves(top), scale=top.scale), 0.82 - 0.35 * s)
    if top.kind == "puffer":
        sleeve *= (0.74 + 0.3 * np.abs(np.sin(s * np.pi / 0.11)) ** 0.6)[..., None]
    sleeve *= (1 - 0.25 * (np.abs(s - top.sleeve) < 0.03))[..., None]  # the cuff
    arm = _flat(rows, np.array(outfit.skin))
    _blend(arm, np.clip((top.sleeve - s) * 60, 0, 1) if top.sleeve else 0 * s, sleeve)
    return arm


def _on_sleeves(top: Garment) -> str:
    return top.pattern if top.pattern in ("stripes", "check", "pinstripe", "camouflage", "dots", "sides") else "plain"


def _legs(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    """Thigh and shin under each other: cloth down to the hem, then stockings, socks, boots or skin."""
    bottom, a = outfit.bottom, _ANGLE
    y = np.concatenate([_down(40, 0.5, 0.27), _down(40, 0.27, 0.04)])
    leg = _flat(len(y), np.array(outfit.skin) * 0.97)
    if bottom.kind in ("skirt", "dress"):
        if outfit.stockings:
            leg = _flat(len(y), np.array((32, 31, 34)))
    else:
        cloth = _cloth(rng, bottom, y)
        if bottom.kind == "jeans":  # worn pale in front of the thighs
            cloth *= (1 + 0.22 * np.exp(-((a / 0.6) ** 2) - ((y - 0.38) / 0.09) ** 2))[..., None]
        if bottom.kind in ("trousers", "wide"):
            cloth *= (1 + 0.10 * np.exp(-((a / 0.12) ** 2)))[..., None]  # the crease
        cloth *= (1 - 0.16 * np.exp(-(((y - 0.27) / 0.012) ** 2)) - 0.2 * np.exp(-(((y - 0.5) / 0.03) ** 2)))[..., None]
        _blend(leg, np.clip((y - lowest(bottom)) * 120, 0, 1), cloth)
    if lowest(bottom) > 0.12 or bottom.kind == "leggings":
        shaft = {"boots": 0.16, "trainers": 0.075, "shoes": 0.0}[outfit.shoes.kind]
        colour = outfit.shoes.colour if outfit.shoes.kind == "boots" else (205, 205, 203)
        _blend(leg, y < shaft, colour)
    return leg


def _pleats(rng: np.random.Generator) -> np.ndarray:
    depth = rng.uniform(0.0, 0.2)
    fall = np.linspace(0.3, 1, _HEIGHTS["skirt"], dtype=np.float32)[:, None]
    return (1 - depth * fall * (0.5 + 0.5 * np.cos(_ANGLE * round(rng.uniform(7, 16)))))[..., None]


def _shoe(shoes: Garment) -> np.ndarray:
    """Rows run from heel to toe; the tube lies down, so what is under the foot is at the turn's half."""
    texture = _flat(_HEIGHTS["shoe"], np.array(shoes.colour))
    texture[-4:] *= 0.85
    texture[:, : TURN // 5] = shoes.second
    texture[:, -TURN // 5 :] = shoes.second
    return texture


def _cover(outfit: Outfit) -> Colour:
    """The colour of what hangs behind the head."""
    return outfit.hat_colour if outfit.hat in ("hood", "scarf") else outfit.hair


def _strands(rng: np.random.Generator, colour: Colour, rows: int) -> np.ndarray:
    wisps = 0.22 * noise(rng, rows, (2, 40)) + 0.12 * noise(rng, rows, (4, 14))
    return _flat(rows, np.array(colour) + 6) * (1 + wisps)[..., None]


def _head(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    """Face, hair and hat; t runs from the crown (0) to the chin (1)."""
    rows, a = _HEIGHTS["head"], np.abs(_ANGLE)
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    skin = np.array(outfit.skin, np.float32)
    head = _flat(rows, skin)
    head *= (1 - 0.20 * np.exp(-(((t - 1) / 0.10) ** 2)) + 0.05 * np.exp(-(((t - 0.3) / 0.12) ** 2)))[..., None]

    def spot(place: float, angle: float, tall: float, wide: float) -> np.ndarray:
        return np.exp(-(((t - place) / tall) ** 2) - ((a - angle) / wide) ** 2)

    dark = skin * 0.35
    _blend(head, 0.45 * spot(0.50, 0.36, 0.06, 0.24), skin * 0.6)  # the hollows of the eyes
    _blend(head, 0.95 * spot(0.52, 0.37, 0.028, 0.12), dark * 0.6)
    _blend(head, 0.75 * spot(0.435, 0.37, 0.022, 0.20), np.array(outfit.hair) * 0.6)
    _blend(head, 0.35 * spot(0.60, 0.0, 0.10, 0.09), np.minimum(skin * 1.15, 255))  # the nose and its shadow
    _blend(head, 0.60 * spot(0.705, 0.0, 0.022, 0.14), dark)
    _blend(head, 0.25 * spot(0.66, 0.55, 0.07, 0.2), skin * np.array([1.05, 0.85, 0.82]))
    _blend(head, 0.80 * spot(0.815, 0.0, 0.022, 0.22), skin * np.array([0.68, 0.42, 0.40]))
    _blend(head, 0.35 * spot(0.87, 0.0, 0.02, 0.2), skin * 0.7)
    _blend(head, 0.55 * spot(0.54, 1.55, 0.09, 0.10), skin * np.array([0.82, 0.66, 0.62]))  # the ears
    if outfit.beard:
        chin = np.clip((t - 0.70 + 0.1 * np.clip(a - 0.4, 0, 0.8)) * 20, 0, 1) * np.clip((1.35 - a) * 6, 0, 1)
        _blend(head, outfit.beard * chin * (1 - 0.7 * spot(0.815, 0.0, 0.022, 0.2)), outfit.hair)
    if outfit.glasses:
        rim = spot(0.52, 0.37, 0.10, 0.28)
        _blend(head, 0.8 * ((rim > 0.42) & (rim < 0.72)) + 0.4 * (rim >= 0.72), np.array([35, 35, 40]))
        _blend(head, 0.7 * (np.abs(t - 0.5) < 0.015) * (a > 0.5) * (a < 1.5), np.array([35, 35, 40]))
    ragged = 0.035 * noise(rng, 1, (1, 30))
    _blend(head, np.clip((_hairline(rng, outfit.hairstyle) + ragged - t) * 22, 0, 1), _strands(rng, outfit.hair, rows))
    _put_on_hat(head, outfit, t)
    return head


def _hairline(rng: np.random.Generator, style: str) -> np.ndarray:
    """How far down hair reaches at each angle: (1, TURN)."""
    front = 0.20 + 0.06 * rng.random()
    fringe = 0.14 if rng.random() < 0.3 else 0.0
    lines = {
        "bald": ([0, 1.2, 1.6, 2.2, np.pi], [-0.2, -0.2, 0.1, 0.1, 0.1]),
        "crop": ([0, 0.7, 1.1, 1.35, 1.7, 2.1, np.pi], [front, front, 0.36, 0.50, 0.46, 0.76, 0.82]),
        "short": ([0, 0.7, 1.05, 1.35, 1.7, 2.1, np.pi], [front + fringe, front + 0.03, 0.40, 0.60, 0.54, 0.88, 0.93]),
        "curly": ([0, 0.7, 1.0, 1.35, 1.7, 2.1, np.pi], [front + 0.06, 0.32, 0.46, 0.70, 0.74, 0.96, 1.0]),
    }
    tied = ([0, 0.6, 1.0, 1.35, 1.7, 2.1, np.pi], [front, front + 0.04, 0.38, 0.52, 0.50, 0.82, 0.88])
    falls = ([0, 0.45, 0.75, 0.95, 1.2, np.pi], [front + fringe, front + fringe + 0.05, 0.52, 0.95, 1.1, 1.1])
    angles, ends = lines.get(style, tied if style in ("ponytail", "bun") else falls)
    return np.interp(np.abs(_ANGLE), angles, ends).astype(np.float32)


def _put_on_hat(head: np.ndarray, outfit: Outfit, t: np.ndarray) -> None:
    colour, a = np.array(outfit.hat_colour), np.abs(_ANGLE)
    if outfit.hat in ("hood", "scarf"):
        face = (a / 0.85) ** 2 + ((t - 0.62) / 0.42) ** 2
        _blend(head, np.clip((face - 1) * 8, 0, 1), colour)
        _blend(head, 0.5 * np.exp(-(((face - 1.0) / 0.15) ** 2)), colour * 0.4)
    elif outfit.hat == "beanie":
        _blend(head, np.clip((0.36 + 0.05 * (a > 1.2) - t) * 40, 0, 1), colour)
        _blend(head, 0.5 * (np.abs(t - 0.32) < 0.05), colour * 0.75)
    elif outfit.hat == "cap":
        _blend(head, np.clip((0.31 + 0.12 * (a > 1.2) - t) * 40, 0, 1), colour)


def _bag(rng: np.random.Generator, outfit: Outfit) -> np.ndarray:
    texture = _flat(_HEIGHTS["bag"], np.array(outfit.bag_colour))
    t = np.linspace(0, 1, _HEIGHTS["bag"], dtype=np.float32)[:, None]
    outer = np.abs(np.abs(_ANGLE) - np.pi)  # 0 in the middle of the side that looks away from the wearer
    if rng.random() < 0.6:
        _blend(texture, (np.abs(t - 0.68) < 0.2) * (outer < 0.9), outfit.bag_second)
    _blend(texture, 0.7 * (np.abs(t - 0.30) < 0.025) * (outer < 1.3), np.array(outfit.bag_colour) * 0.4 + 20)
    return texture * (1 + 0.08 * noise(rng, _HEIGHTS["bag"], (4, 6)))[..., None]
