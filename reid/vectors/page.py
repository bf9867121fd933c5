"""A page of pictures of what a search found: one file, which loads nothing and runs no script."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid import pages
from reid.vectors import sources, video
from reid.vectors.answers import Answer, known, written
from reid.vectors.search import Hit
from reid.vectors.sources import Load
from reid.vectors.store import Header


def write(path: str | Path, answers: Sequence[Answer], header: Header, threshold: float | None) -> None:
    """Writes the page. It holds the pictures: of real people it is personal data. A picture that is no longer where it was is
    said to be missing."""
    asked = [hit for answer in answers for hit in (answer.query, *(hit for _, hit in answer.found))]
    images = dict(zip(map(id, asked), _images(asked), strict=True))
    unknown = "unknown" + ("" if threshold is None else f": nothing scores {threshold:.4f} or more")
    shown = []
    for answer in answers:
        titled = [(answer.rescoring or "query", answer.query)]
        titled += [(f"{rank}: {score:.4f}", hit) for rank, (score, hit) in enumerate(answer.found, start=1)]
        cells = [_cell(hit, images[id(hit)], title) for title, hit in titled]
        shown.append({"cells": cells, "unknown": "" if answer.found else unknown})
    terms = "; ".join(f"{each['name']}: {each['terms']}" for each in header["terms"])
    pages.write(path, "search.html", answers=shown, about=header["model"]["about"], terms=terms)


def _cell(hit: Hit, image: np.ndarray | None, title: str) -> dict[str, Any]:
    said = [f"{name} {written(hit.row, name)}" for name in known(hit.row) if name not in ("path", "box")]
    picture = "" if image is None else pages.picture(image)
    return {"title": title, "said": said, "path": hit.row.path, "picture": picture}


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
