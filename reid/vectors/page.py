"""A page of pictures of what a search found: one file, which loads nothing and runs no script."""

from __future__ import annotations

import base64
import functools
import html
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from reid import escape
from reid.vectors import sources, video
from reid.vectors.answers import Answer, known, written
from reid.vectors.search import Hit
from reid.vectors.sources import Load
from reid.vectors.store import Header

HEIGHT, QUALITY = 96, 70  # px and JPEG quality of a picture: about 2 kB each
_STYLE = """
body { font: 14px sans-serif; margin: 1em; color: #222; background: #fff }
section { display: flex; flex-wrap: wrap; gap: 8px; border-top: 1px solid #ccc; padding: 8px 0 }
figure { margin: 0; padding: 4px; border: 2px solid #ddd; max-width: 130px; overflow-wrap: anywhere }
figure.query { border-color: #06c }
img { height: 96px; display: block }
figcaption { font-size: 11px }
"""


def write(path: str | Path, answers: Sequence[Answer], header: Header, threshold: float | None) -> None:
    """Writes the page. It holds the pictures: of real people it is personal data. A picture that is no longer where it was is
    said to be missing."""
    asked = [hit for answer in answers for hit in (answer.query, *(hit for _, hit in answer.found))]
    images = dict(zip(map(id, asked), _images(asked), strict=True))
    terms = "; ".join(f"{each['name']}: {each['terms']}" for each in header["terms"])
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Search</title><style>{_STYLE}</style>",
        f"<h1>{len(answers):,} queries</h1>",
        f"<p>{_text(header['model']['about'])}. Sources, whose terms bind whoever uses this: {_text(terms)}.</p>",
    ]
    for answer in answers:
        cells = [_figure(answer.query, images[id(answer.query)], "query")]
        for rank, (score, hit) in enumerate(answer.found, start=1):
            cells.append(_figure(hit, images[id(hit)], f"{rank}: {score:.4f}"))
        if not answer.found:
            cells.append(
                "<p>unknown" + (f": nothing scores {threshold:.4f} or more" if threshold is not None else "") + "</p>"
            )
        lines.append(f"<section>{''.join(cells)}</section>")
    Path(path).write_text("\n".join([*lines, "</html>"]) + "\n", encoding="utf-8")


def _figure(hit: Hit, image: np.ndarray | None, title: str) -> str:
    said = [f"{name} {written(hit.row, name)}" for name in known(hit.row) if name not in ("path", "box")]
    path = hit.row.path
    picture = "<p>missing</p>"
    if image is not None:
        width = max(1, min(2 * HEIGHT, round(image.shape[1] * HEIGHT / image.shape[0])))
        small = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        picture = f'<img alt="{_text(path)}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
    kind = ' class="query"' if title == "query" else ""
    caption = "<br>".join(map(_text, [title, *said, path]))
    return f"<figure{kind}>{picture}<figcaption>{caption}</figcaption></figure>"


def _text(text: str) -> str:
    return html.escape(escape.line(text))


def _images(hits: Sequence[Hit]) -> list[np.ndarray | None]:
    """Each hit's picture, None where it cannot be read; those of one video in one pass."""
    found: list[np.ndarray | None] = [None] * len(hits)
    videos: dict[tuple[Path, int], list[int]] = defaultdict(list)
    for i, hit in enumerate(hits):
        if hit.row.frame >= 0:
            videos[Path(hit.root, hit.row.path), hit.first_frame].append(i)
        else:
            found[i] = _try(functools.partial(sources.read_again, Path(hit.root), hit.row.path))
    for (path, first_frame), members in videos.items():
        members.sort(key=lambda i: hits[i].row.frame)
        crops = video.crops(path, [hits[i].row for i in members], first_frame)
        for i, load in zip(members, crops.load(range(len(members))), strict=True):
            found[i] = _try(load)
    return found


def _try(load: Load) -> np.ndarray | None:
    try:
        return load()
    except (ValueError, OSError):
        return None
