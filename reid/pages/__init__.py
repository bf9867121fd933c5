"""Pages of HTML: one file each, which loads nothing and needs no script. Names from elsewhere are escaped by the templates."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reid import escape, whole

HEIGHT, QUALITY = 96, 70  # px and JPEG quality of a picture: about 2 kB each


def _plain(value: Any) -> Any:
    """What a template writes: a text loses what is no visible character; jinja then escapes it."""
    return escape.line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    loader=PackageLoader(__name__),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_plain,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """A template of `templates/` as HTML or SVG, to be used in another."""
    return Markup(TEMPLATES.get_template(template).render(**values))


def write(path: str | Path, template: str, **values: Any) -> None:
    """Writes a page, whole or not at all."""
    with whole.writing(Path(path)) as file:
        file.write(render(template, **values).encode())


def picture(image: np.ndarray) -> Markup:
    """A `data:` address of a small JPEG of (H, W, 3) uint8 RGB, HEIGHT px high and at most twice as wide."""
    width = max(1, min(2 * HEIGHT, round(image.shape[1] * HEIGHT / image.shape[0])))
    small = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Markup(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}")


def lit(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 in the light of `heat` (h, w) uint8: bright where it is high. Light alone says it, no colour."""
    size = image.shape[1], image.shape[0]
    light = cv2.resize(heat.astype(np.float32) / 255, size, interpolation=cv2.INTER_LINEAR)
    return (image * (0.3 + 0.7 * light[..., None])).astype(np.uint8)
