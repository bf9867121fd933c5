"""What a person wears: drawn from the priors of a place, before anything is painted."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from .domains import Prior

Colour = tuple[float, float, float]  # RGB, 0..255

# The dull colours that most real garments share: hue, saturation, value; and how often each is met.
_DULL = (
    (0.36, (0.62, 0.08, 0.10)),  # black
    (0.14, (0.60, 0.06, 0.24)),  # charcoal
    (0.12, (0.58, 0.04, 0.46)),  # grey
    (0.06, (0.10, 0.04, 0.66)),  # light grey
    (0.16, (0.12, 0.03, 0.90)),  # white
    (0.16, (0.63, 0.50, 0.25)),  # navy
)
_WARM = ((0.99, 0.75), (0.02, 0.70), (0.06, 0.62), (0.08, 0.45), (0.10, 0.75), (0.13, 0.90), (0.93, 0.80), (0.97, 0.40))
_COOL = ((0.58, 0.55), (0.61, 0.75), (0.55, 0.80), (0.47, 0.50), (0.36, 0.45), (0.27, 0.50), (0.74, 0.50), (0.80, 0.65))
_SKIN = (
    (243, 206, 179),
    (230, 188, 152),
    (214, 167, 128),
    (190, 138, 100),
    (150, 103, 72),
    (104, 70, 50),
    (72, 48, 36),
)
_HAIR = (
    (0.34, (26, 22, 20)), (0.26, (54, 38, 28)), (0.16, (92, 62, 40)),
    (0.10, (178, 140, 88)), (0.05, (132, 62, 32)), (0.09, (150, 148, 146)),
)  # fmt: skip
PATTERNS = (
    "stripes",
    "pinstripe",
    "check",
    "block",
    "band",
    "dots",
    "camouflage",
    "sides",
    "print",
    "print",
    "gradient",
)


@dataclass(frozen=True)
class Garment:
    """One piece of clothing.

    reach: how far it goes down: 0 the waist .. 1 the ankle (tops from the hip's height on, bottoms from the waist).
    sleeve: share of the arm it covers. ease: how far it stands off the body, in body heights.
    open: half-width of the gap in front, rad, through which `inner` shows; 0 closed.
    """

    kind: str
    colour: Colour
    second: Colour
    pattern: str = "plain"
    reach: float = 0.0
    sleeve: float = 0.0
    ease: float = 0.004
    open: float = 0.0
    inner: Colour = (220, 220, 220)
    scale: float = 1.0


@dataclass(frozen=True)
class Outfit:
    """Everything that tells a person apart besides the body; `beard` is how dense it is, 0 none."""

    skin: Colour
    hair: Colour
    hairstyle: str
    hat: str
    hat_colour: Colour
    beard: float
    glasses: bool
    top: Garment
    bottom: Garment
    shoes: Garment
    bag: str
    bag_colour: Colour
    bag_second: Colour
    stockings: bool


# kind: (season it is worn in, how strictly, sleeve, reach, ease)
_TOPS = {
    "tank": (1.00, 0.16, 0.0, 0.02, 0.002),
    "tee": (0.88, 0.26, 0.30, 0.05, 0.006),
    "polo": (0.80, 0.22, 0.27, 0.03, 0.005),
    "shirt": (0.62, 0.28, 0.97, 0.07, 0.006),
    "sweater": (0.38, 0.24, 0.97, 0.03, 0.010),
    "hoodie": (0.42, 0.28, 0.97, 0.05, 0.013),
    "blazer": (0.50, 0.26, 0.95, 0.14, 0.009),
    "jacket": (0.30, 0.26, 0.98, 0.06, 0.014),
    "gilet": (0.32, 0.20, 0.97, 0.05, 0.016),
    "puffer": (0.08, 0.20, 0.98, 0.08, 0.024),
    "parka": (0.12, 0.22, 0.98, 0.32, 0.018),
    "coat": (0.10, 0.22, 0.98, 0.50, 0.014),
}
_BOTTOMS = {
    "jeans": (0.45, 0.60, 1.00, 0.006),
    "trousers": (0.40, 0.60, 1.00, 0.008),
    "leggings": (0.40, 0.45, 0.97, 0.001),
    "joggers": (0.40, 0.50, 0.95, 0.013),
    "wide": (0.55, 0.40, 0.98, 0.022),
    "shorts": (1.00, 0.22, 0.42, 0.014),
}
_SHOES = ("trainers", "shoes", "boots", "trainers")
_STYLES = ("short", "crop", "bald", "bob", "long", "ponytail", "bun", "curly")


def dress(rng: np.random.Generator, prior: Prior) -> Outfit:
    """Draw one person's clothes, hair and bag from the priors of a place."""
    season = float(np.clip(rng.normal(prior.season, 0.13), 0, 1))
    skirted = rng.random() < prior.skirts
    top = _top(rng, prior, season)
    bottom = _skirt(rng, prior, season) if skirted else _bottom(rng, prior, season)
    if skirted and season > 0.4 and rng.random() < 0.45:  # a dress: one cloth from the shoulders to the hem
        bottom = replace(bottom, kind="dress", colour=top.colour, second=top.second, pattern=top.pattern)
        top = replace(top, open=0.0, reach=0.0)
    cold = season < 0.3 and rng.random() < 0.45
    hat = str(rng.choice(["beanie", "beanie", "hood", "scarf"])) if cold else ""
    if not hat and rng.random() < 0.10:
        hat = str(rng.choice(["cap", "cap", "scarf"]))
    weights = np.array([3, 2, 0.6, 1.6, 2.2, 1.6, 0.8, 0.9]) * ([0.3, 0.1, 0, 2, 2.5, 2, 2, 1] if skirted else [1] * 8)
    style = str(rng.choice(_STYLES, p=weights / weights.sum()))
    shoes = str(rng.choice(_SHOES)) if season > 0.25 else str(rng.choice(["boots", "boots", "trainers"]))
    return Outfit(
        skin=_near(rng, _SKIN[rng.choice(7, p=[0.2, 0.25, 0.18, 0.13, 0.1, 0.08, 0.06])], 6),
        hair=_near(rng, _pick(rng, _HAIR), 10),
        hairstyle=style,
        hat=hat,
        hat_colour=_cloth(rng, prior),
        beard=float(rng.random() < 0.28 and style in ("short", "crop", "bald", "curly")) * rng.uniform(0.3, 0.9),
        glasses=bool(rng.random() < 0.2),
        top=top,
        bottom=bottom,
        shoes=Garment(shoes, _leather(rng, prior, shoes), (225, 225, 222) if rng.random() < 0.5 else (40, 38, 36)),
        bag=_bag(rng, prior),
        bag_colour=_cloth(rng, prior),
        bag_second=_cloth(rng, prior),
        stockings=season < 0.45,
    )


def _top(rng: np.random.Generator, prior: Prior, season: float) -> Garment:
    kind = _in_season(rng, _TOPS, season)
    _, _, sleeve, reach, ease = _TOPS[kind]
    opened = kind in ("jacket", "blazer", "parka", "coat", "gilet", "hoodie") and rng.random() < (
        0.65 if kind == "blazer" else 0.35
    )
    return Garment(
        kind,
        _cloth(rng, prior),
        _cloth(rng, prior),
        _pattern(rng, prior),
        reach=max(0.0, reach + rng.normal(0, 0.025)) if reach < 0.2 else reach + rng.uniform(-0.08, 0.1),
        sleeve=float(np.clip(sleeve + rng.normal(0, 0.05), 0, 1)) if sleeve else 0.0,
        ease=ease * rng.uniform(0.7, 1.35),
        open=rng.uniform(0.2, 0.6) if opened else 0.0,
        inner=_cloth(rng, prior),
        scale=rng.uniform(0.6, 1.6),
    )


def _bottom(rng: np.random.Generator, prior: Prior, season: float) -> Garment:
    kind = _in_season(rng, _BOTTOMS, season)
    _, _, reach, ease = _BOTTOMS[kind]
    colour = _cloth(rng, prior)
    if kind == "jeans" or rng.random() < 0.12:
        colour = _near(rng, _rgb(0.60, rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.62)), 6)
    elif rng.random() < 0.35:  # bottoms are darker than tops
        colour = _near(rng, _rgb(*_DULL[rng.choice([0, 0, 1, 5])][1]), 6)
    pattern = str(rng.choice(["sides", "check", "camouflage"])) if rng.random() < 0.25 * prior.patterned else "plain"
    short = rng.uniform(-0.08, 0.1) if kind == "shorts" else -max(0.0, rng.normal(0, 0.06) if season > 0.5 else 0.0)
    return Garment(kind, colour, _cloth(rng, prior), pattern, reach=reach + short, ease=ease * rng.uniform(0.7, 1.4))


def _skirt(rng: np.random.Generator, prior: Prior, season: float) -> Garment:
    reach = rng.uniform(0.3, 0.95) if season > 0.3 else rng.uniform(0.45, 0.98)
    return Garment(
        "skirt",
        _cloth(rng, prior),
        _cloth(rng, prior),
        _pattern(rng, prior),
        reach=reach,
        ease=rng.uniform(0.005, 0.045),
        scale=rng.uniform(0.6, 1.6),
    )


def _bag(rng: np.random.Generator, prior: Prior) -> str:
    if rng.random() >= prior.bags:
        return ""
    return str(rng.choice(["backpack", "backpack", "satchel", "handbag", "tote"]))


def _pattern(rng: np.random.Generator, prior: Prior) -> str:
    return str(rng.choice(PATTERNS)) if rng.random() < prior.patterned else "plain"


def _in_season(rng: np.random.Generator, wardrobe: dict, season: float) -> str:
    weights = np.array([np.exp(-(((season - w[0]) / w[1]) ** 2)) for w in wardrobe.values()]) + 1e-6
    return str(rng.choice(list(wardrobe), p=weights / weights.sum()))


def _cloth(rng: np.random.Generator, prior: Prior) -> Colour:
    if rng.random() < prior.dull:
        return _near(rng, _rgb(*_pick(rng, _DULL)), 9)
    hue, value = (_WARM if rng.random() < prior.warm else _COOL)[rng.integers(8)]
    saturation = np.clip(rng.normal(0.25 + 0.5 * prior.vivid, 0.15), 0.12, 0.9)
    return _near(rng, _rgb(hue + rng.normal(0, 0.012), saturation, np.clip(value + rng.normal(0, 0.12), 0.2, 0.95)), 6)


def _leather(rng: np.random.Generator, prior: Prior, kind: str) -> Colour:
    if kind == "trainers":
        return _cloth(rng, prior)
    return _near(rng, [(24, 22, 22), (24, 22, 22), (84, 54, 34), (140, 100, 62), (60, 60, 66)][rng.integers(5)], 8)


def _pick(rng: np.random.Generator, weighted: tuple) -> Colour:
    shares = np.array([share for share, _ in weighted])
    return weighted[rng.choice(len(weighted), p=shares / shares.sum())][1]


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    r, g, b = np.clip(np.array(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 6, 250)
    return float(r), float(g), float(b)


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(hue % 1, float(saturation), float(value))
    return 255 * r, 255 * g, 255 * b
