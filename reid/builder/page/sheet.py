"""The ranked lists of a run's page as one picture, for a README or a slide; borders and colours are those of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from reid import config
from reid.builder import page, recipes
from reid.builder.page.lists import KINDS, Album, picture_at
from reid.evaluation.kept.form import Kept, Picture, Ranked

Colour = tuple[int, int, int]  # RGB

WHITE, INK = (255, 255, 255), (27, 27, 27)
ASKED, RIGHT, WRONG = (11, 87, 164), (18, 105, 44), (179, 38, 30)
TALL, WIDEST, NARROWEST = 128, 256, 72  # px of a picture's height, and between which its cell's width lies
BORDER, GAP, LINE = 3, 8, 15  # px; LINE: the height of one of text
DASHES = {ASKED: 3, RIGHT: 0, WRONG: 8}  # px of a border's dashes; 0: a plain one


def write(run: str | Path, output: str | Path, *, name: str = "", lists: int = 2, pictures: bool = False) -> str:
    """Draws the first `lists` ranked lists of each kind (worst, random, best) into the file `output`; returns whose they are.

    name: of the data set; empty: the first whose pictures may be shown. pictures: also where its terms do not allow it, or
    are not known. The sheet then is personal data.
    Raises FileNotFoundError or ValueError for a run without a page, for pictures that are all gone, and for a set that is not there or may not be shown.
    """
    kept = _choose(page.kept_of(recipes.read_run(Path(run))[1]), name, Path(run), Album(pictures))
    chosen = [each for kind in KINDS for each in [one for one in kept["ranked"] if one["kind"] == kind][:lists]]
    if not cv2.imwrite(str(output), sheet(chosen)[..., ::-1]):
        raise OSError(f"{output}: the sheet could not be written; expected a folder with room")
    return kept["dataset"]


def _choose(sets: Sequence[Kept], name: str, run: Path, album: Album) -> Kept:
    if not sets:
        raise FileNotFoundError(f"{run}: found no {page.KEPT} of its last scoring; score it with TEST.REPORT True")
    names = [each["dataset"] for each in sets]
    if name and name not in names:
        raise ValueError(f"--set: no {name}{config.nearest(name, names)}; there are {', '.join(names)}")
    named = [each for each in sets if name in ("", each["dataset"])]
    for each in named:
        if album.shows(each):
            return each
    raise ValueError(
        f"{run}: the terms of {', '.join(each['dataset'] for each in named)} do not allow pictures to be shown, or are not "
        "known; --pictures draws them, and whoever passes them on answers for it"
    )


def sheet(lists: Sequence[Ranked]) -> np.ndarray:
    """(H, W, 3) uint8 RGB: each list is a row, the query and what it finds, under a line that says how well.

    Raises FileNotFoundError where none of the pictures is there.
    """
    shown = {
        picture["path"]: picture_at(picture["path"]) for each in lists for picture in (each["query"], *each["found"])
    }
    images = {path: _scaled(image) for path, image in shown.items() if image is not None}
    if not images:
        raise FileNotFoundError(
            f"{next(iter(shown))}: found neither this picture nor another of {len(shown)}; expected them where the run was "
            "started: go to that folder"
        )
    wide = max((NARROWEST, *(image.shape[1] for image in images.values())))
    rows = []
    for each in lists:
        told = f"{each['kind']}: AP {100 * each['ap']:.1f}, first match at rank {each['first']:,}, {each['num_matches']:,} in all"
        cells = [_cell(each["query"], images, wide, ASKED, ["query", ""])]
        for found in each["found"]:
            colour = RIGHT if found["right"] else WRONG
            said = [f"{found['rank']}: {'right' if found['right'] else 'wrong'}", f"{found['score']:.3f}"]
            cells.append(_cell(found, images, wide, colour, said))
        row = np.concatenate(cells, axis=1)
        rows += [_text(told, INK, row.shape[1]), row]
    full = max(row.shape[1] for row in rows)
    return _padded(np.concatenate([_padded(row, right=full - row.shape[1]) for row in rows]), top=GAP, left=GAP)


def _scaled(image: np.ndarray) -> np.ndarray:
    width = min(WIDEST, round(image.shape[1] * TALL / image.shape[0]))
    return cv2.resize(image, (width, TALL), interpolation=cv2.INTER_AREA)


def _cell(picture: Picture, images: dict[str, np.ndarray], wide: int, colour: Colour, said: list[str]) -> np.ndarray:
    """A picture over what is known of it, in a border of its colour; `gone` where it is no longer there."""
    camera = "" if picture["camid"] is None else f", c{picture['camid']}"
    image = images.get(picture["path"])
    inner = np.full((TALL, wide, 3), WHITE, np.uint8)
    if image is not None:
        inner[:, : image.shape[1]] = image
    else:
        inner[:LINE] = _text("gone", INK, wide)
    lines = [
        _text(said[0], colour, wide),
        *(_text(words, INK, wide) for words in (said[1], f"id {picture['pid']}{camera}")),
    ]
    cell = _padded(np.concatenate([inner, *lines]), **dict.fromkeys(("top", "bottom", "left", "right"), BORDER + 2))
    return _padded(_framed(cell, colour), right=GAP, bottom=GAP)


def _framed(cell: np.ndarray, colour: Colour) -> np.ndarray:
    along, down = (np.arange(length) for length in (cell.shape[1], cell.shape[0]))
    dash = DASHES[colour]
    edge = np.zeros(cell.shape[:2], bool)
    for side, place in (
        (edge[:BORDER], along),
        (edge[-BORDER:], along),
        (edge[:, :BORDER].T, down),
        (edge[:, -BORDER:].T, down),
    ):
        side |= (place // dash % 2 == 0) if dash else True
    return np.where(edge[..., None], np.array(colour, np.uint8), cell)


def _text(words: str, colour: Colour, wide: int) -> np.ndarray:
    line = np.full((LINE, wide, 3), WHITE, np.uint8)
    return cv2.putText(line, words, (0, LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)


def _padded(image: np.ndarray, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> np.ndarray:
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=WHITE)
