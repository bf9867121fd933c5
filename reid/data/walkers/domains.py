"""The nine drawn places, as priors over who walks there, in what, and before which cameras.

The four sources are corners, far apart. Every other domain is a mixture of corners with people, cameras and backgrounds
of its own, and no single source spans it. Where it is searched to see how a model generalizes, its cameras' colours lie
outside what the sources span together, as those of a real place do.
"""

from __future__ import annotations

import difflib
import zlib
from dataclasses import dataclass, fields, replace

PLACES = ("street", "park", "hall", "shop", "road", "yard")  # the kinds of background that `plates.py` paints


@dataclass(frozen=True)
class Prior:
    """What is usual in a place; each picture, camera and identity scatters around it. Fractions unless said."""

    season: float  # 0 deep winter (coats, hats) .. 1 high summer (bare arms and legs)
    dull: float  # garments in black, grey, white or navy
    warm: float  # of the other garments, those in reds, browns, yellows; the rest blues, greens, violets
    vivid: float  # how saturated the other garments are
    patterned: float  # garments with a pattern or a print
    bags: float  # people who carry something
    skirts: float  # people in a skirt or a dress
    heavy: float  # mean build: 0 slight .. 1 broad
    along: float  # people seen along the camera's own walking direction; the rest from anywhere
    pitch: float  # degrees the camera looks down
    loose: float  # how far the crop misses the person: 0 exact .. 1 very
    occluded: float  # pictures with something in front of the person
    crowd: float  # pictures with a second person
    tungsten: float  # -1 bluish .. 1 yellowish light
    cast: float  # scatter of a camera's colour gains, natural log
    level: float  # mean grey of a camera's pictures, 0..255
    contrast: float
    saturation: float
    haze: float  # black lifted towards white
    sun: float  # 0 overcast or indoors .. 1 hard sun with shadows
    blur: float  # Gaussian sigma in px of a picture 128 high
    noise: float  # grey levels, standard deviation
    quality: float  # JPEG quality, 1..100
    pixels: float  # height in px at which the camera saw the person
    street: float  # the six shares of background kinds; they need not add up to 1
    park: float
    hall: float
    shop: float
    road: float
    yard: float
    discord: float = 0.0  # scatter of cameras in hue, saturation and tone beyond what any source has; no corner has any


@dataclass(frozen=True)
class Domain:
    """A place with people, cameras and backgrounds of its own.

    role: `source` (to train on), `target` (to score once) or `tuning` (to make choices on).
    cameras: how many it has. ids, pictures: identities, and pictures of each, when nobody says otherwise.
    """

    name: str
    role: str
    prior: Prior
    cameras: int
    ids: int
    pictures: int

    @property
    def key(self) -> int:
        """A number for seeding that depends on the name only, so that adding a domain redraws no other."""
        return zlib.crc32(self.name.encode())


_CORNERS = {
    # A windy quay in winter: coats and hats, grey light, few pixels, cameras high up on masts.
    "harbour": Prior(
        season=0.05, dull=0.66, warm=0.45, vivid=0.55, patterned=0.30, bags=0.30, skirts=0.08, heavy=0.65,
        along=0.75, pitch=22, loose=0.30, occluded=0.08, crowd=0.06,
        tungsten=-0.55, cast=0.05, level=122, contrast=0.90, saturation=0.85, haze=0.10, sun=0.10,
        blur=0.6, noise=4, quality=66, pixels=90,
        street=0.1, park=0.0, hall=0.0, shop=0.0, road=0.35, yard=0.9,
    ),
    # Lawns and paths in summer: bare arms, backpacks, hard sun, sharp cameras at eye level.
    "campus": Prior(
        season=0.92, dull=0.45, warm=0.40, vivid=0.55, patterned=0.45, bags=0.65, skirts=0.22, heavy=0.35,
        along=0.25, pitch=3, loose=0.15, occluded=0.12, crowd=0.10,
        tungsten=0.05, cast=0.04, level=124, contrast=1.12, saturation=1.05, haze=0.02, sun=0.95,
        blur=0.2, noise=3, quality=92, pixels=170,
        street=0.35, park=0.9, hall=0.0, shop=0.0, road=0.1, yard=0.0,
    ),
    # Halls and stairs: office clothes, yellow light, noise, people passing sideways.
    "station": Prior(
        season=0.40, dull=0.64, warm=0.35, vivid=0.45, patterned=0.30, bags=0.60, skirts=0.15, heavy=0.50,
        along=0.60, pitch=14, loose=0.40, occluded=0.12, crowd=0.16,
        tungsten=0.65, cast=0.07, level=98, contrast=1.00, saturation=0.95, haze=0.08, sun=0.0,
        blur=0.5, noise=8, quality=80, pixels=110,
        street=0.0, park=0.0, hall=1.0, shop=0.25, road=0.0, yard=0.0,
    ),
    # A lively shopping street: colours and patterns, skirts, cameras that disagree about colour, coarse JPEG.
    "bazaar": Prior(
        season=0.70, dull=0.38, warm=0.75, vivid=0.80, patterned=0.60, bags=0.50, skirts=0.40, heavy=0.55,
        along=0.35, pitch=9, loose=0.55, occluded=0.10, crowd=0.16,
        tungsten=0.30, cast=0.10, level=112, contrast=1.06, saturation=1.10, haze=0.12, sun=0.45,
        blur=0.6, noise=7, quality=40, pixels=96,
        street=0.7, park=0.0, hall=0.0, shop=0.9, road=0.25, yard=0.0,
    ),
}  # fmt: skip


def _mix(**shares: float) -> Prior:
    """The mixture of corners with these shares, which are brought to a sum of 1."""
    total = sum(shares.values())
    return Prior(
        **{f.name: sum(w * getattr(_CORNERS[c], f.name) for c, w in shares.items()) / total for f in fields(Prior)}
    )


def _elsewhere(**shares: float) -> Prior:
    """A mixture before lamps of other colours and cameras of every make, whose colours and tones no source prepares for."""
    return replace(_mix(**shares), cast=0.15, discord=0.13)


_AVENUE = {"harbour": 3, "campus": 2, "station": 2, "bazaar": 3}
_SOURCES = [Domain(name, "source", prior, cameras=6, ids=250, pictures=12) for name, prior in _CORNERS.items()]
_OTHERS = [
    Domain("bridge", "target", _elsewhere(harbour=4, campus=3, station=1, bazaar=2), cameras=6, ids=220, pictures=8),
    Domain("arcade", "target", _elsewhere(station=4, bazaar=4, campus=1, harbour=1), cameras=6, ids=220, pictures=8),
    Domain("square", "target", _elsewhere(campus=3, station=3, harbour=2, bazaar=2), cameras=5, ids=220, pictures=8),
    Domain("fair", "tuning", _elsewhere(**_AVENUE), cameras=5, ids=220, pictures=8),
    # As the fair, before cameras such as the sources have: the priors of the two differ in nothing else.
    Domain("avenue", "tuning", _mix(**_AVENUE), cameras=5, ids=220, pictures=8),
]

DOMAINS = {domain.name: domain for domain in [*_SOURCES, *_OTHERS]}


def find(name: str) -> Domain:
    """The domain of this name. Raises ValueError with the names there are, the nearest first."""
    if name in DOMAINS:
        return DOMAINS[name]
    near = difflib.get_close_matches(name, DOMAINS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"walkers: no domain {name!r}; there are {', '.join(DOMAINS)}.{hint}")
