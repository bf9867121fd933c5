"""What the page shows of one data set: ranked lists with their pictures, errors by cameras, scores, a map."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from yacs.config import CfgNode

from reid import pages
from reid.builder import objects
from reid.builder.page import charts
from reid.data.loader import read_image
from reid.evaluation.kept.form import Found, Kept, Picture, Ranked

FULL = 7_000_000  # characters of pictures that one page may hold
KINDS = {
    "worst": "Worst first: the queries of the lowest average precision",
    "random": "Drawn at random from the others",
    "best": "Best first: the queries of the highest average precision",
}


class Album:
    """The pictures of a page, as far as they may be shown and there is room.

    everything: also those of sets whose terms do not let them be shown. left_out: pictures for which there was no room.
    """

    def __init__(self, everything: bool) -> None:
        self.everything, self.left_out, self._room = everything, 0, FULL

    def shows(self, kept: Kept) -> bool:
        return self.everything or kept["may_show"]

    def add(self, image: np.ndarray) -> str:
        address = pages.picture(image)
        if len(address) > self._room:
            self.left_out += 1
            return ""
        self._room -= len(address)
        return address


def data_set(kept: Kept, cfg: CfgNode, album: Album) -> dict[str, Any]:
    """The values of `templates/set.html`."""
    shown = {kind: [_list(each, kept, cfg, album) for each in kept["ranked"] if each["kind"] == kind] for kind in KINDS}
    trials = kept["trials"]
    return {
        "name": kept["dataset"],
        "title": kept["title"],
        "terms": kept["terms"],
        "shows": album.shows(kept),
        "num_trials": len(trials),
        "num_valid": len(trials[0]["ap"]),
        "num_looked": kept["num_looked"],
        "depth": max((len(each["found"]) for each in kept["ranked"]), default=0),
        "kinds": [(KINDS[kind], lists) for kind, lists in shown.items() if lists],
        "cameras": _cameras(kept),
        "charts": charts.of_set(kept),
        "lacking": kept["lacking"],
    }


def _list(ranked: Ranked, kept: Kept, cfg: CfgNode, album: Album) -> dict[str, Any]:
    shows = album.shows(kept)
    cells = [_cell(ranked["query"], "query", "query", album if shows else None)]
    for found in ranked["found"]:
        kind = "right" if found["right"] else "wrong"
        mark = "✓ right" if found["right"] else "✗ wrong"
        title = f"{found['rank']}: {mark}"
        cells.append({**_cell(found, kind, title, album if shows else None), "score": f"score {found['score']:.4f}"})
    lit = []
    if shows and ranked["activation"] is not None:
        match = next(found for found in ranked["found"] if found["right"])
        lit = [
            _lit(ranked["query"], ranked["activation"]["query"], "query, through the score", cfg, album),
            _lit(match, ranked["activation"]["match"], f"its match at {match['rank']}, through the score", cfg, album),
        ]
    told = f"AP {100 * ranked['ap']:.1f}, first match at rank {ranked['first']:,}, {ranked['num_matches']:,} in all"
    return {"cells": cells, "lit": lit, "told": told, "query": _named(ranked["query"])}


def _cell(picture: Picture | Found, kind: str, title: str, album: Album | None) -> dict[str, Any]:
    address, said = "", ""
    if album is not None:
        image = picture_at(picture["path"])
        address = "" if image is None else album.add(image)
        said = "" if address else "missing" if image is None else "no room on this page"
    name = PurePath(picture["path"]).name
    return {
        "kind": kind,
        "title": title,
        "who": _named(picture),
        "score": "",
        "name": name,
        "picture": address,
        "said": said,
    }


def _lit(picture: Picture | Found, heat: list[list[int]], title: str, cfg: CfgNode, album: Album) -> dict[str, Any]:
    cell = _cell(picture, "lit", title, None)
    image = picture_at(picture["path"])
    if image is not None:  # as the encoder saw it, so that the places are the same
        cell["picture"] = album.add(pages.lit(objects.test_transform(cfg)(image), np.array(heat)))
    return cell


def _named(picture: Picture | Found) -> str:
    camera = "" if picture["camid"] is None else f", camera {picture['camid']}"
    return f"person {picture['pid']}{camera}"


def picture_at(path: str) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB; None where it is no longer there."""
    try:
        return read_image(path)
    except (ValueError, OSError):
        return None


def _cameras(kept: Kept) -> dict[str, Any] | None:
    """One line a camera of the queries: the share that finds a wrong person first among the pictures of each other one."""
    found = kept["cameras"]
    if found is None:
        return None
    lines = [
        [camera, *(_share(lost, of) for lost, of in zip(wrong, asked, strict=True))]
        for camera, wrong, asked in zip(found["query"], found["wrong"], found["asked"], strict=True)
    ]
    return {"head": found["gallery"], "lines": lines}


def _share(wrong: int, asked: int) -> str:
    return f"{100 * wrong / asked:.1f} ({wrong:,} of {asked:,})" if asked else "–"
