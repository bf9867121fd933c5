"""Crops of a video by their boxes: cut out frame by frame, never written to disk."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from reid.vectors.rows import Row, read_csv
from reid.vectors.sources import Load, Source

COLUMNS = ("frame", "x", "y", "w", "h", "track", "person")
SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts")


def find(path: str | Path, boxes: str | Path, *, camera: str = "", start: float = 0.0, first_frame: int = 1) -> Source:
    """The crops of a video, in the order of their frames and then of the boxes' file.

    boxes: .csv with the columns frame, x, y, w, h and, where known, track and person, in pixels from the frame's upper left
        corner; or MOT's text: frame, track, x, y, w, h and columns that are not looked at.
    camera: of every row. start: seconds, the time of the first frame. first_frame: its number, 1 as MOT counts, or 0.
    Raises FileNotFoundError, or ValueError for a video that cannot be opened and boxes that cannot be read.
    """
    path, boxes = Path(path), Path(boxes)
    for each in (path, boxes):
        if not each.is_file():
            raise FileNotFoundError(f"embed: found no file {each}; expected a video, and --boxes with its boxes")
    rate = _rate(path)
    rows = []
    for line, (frame, track, person, box) in _boxes(boxes):
        if frame < first_frame or box[2] < 1 or box[3] < 1:
            raise ValueError(
                f"{boxes}, line {line}: found frame {frame} and a box of {box[2]}x{box[3]}; expected frames from "
                f"{first_frame} on (--first-frame) and a box of at least 1x1 pixels"
            )
        rows.append(Row(path.name, camera, start + (frame - first_frame) / rate, track, person, frame, box))
    if not rows:
        raise ValueError(f"{boxes}: found no box; expected one a line")
    return crops(path, sorted(rows, key=lambda row: row.frame), first_frame)


def crops(path: Path, rows: list[Row], first_frame: int) -> Source:
    """Those rows of a video, which are in the order of their frames."""
    return Source(path.parent, rows, functools.partial(_load, path, rows, first_frame), first_frame)


def cut(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a box that lies in the frame, (h, w, 3) RGB. Raises ValueError where none does."""
    x, y, w, h = box
    crop = frame[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0), ::-1]
    if not crop.size:
        raise ValueError(
            f"the box {x}, {y}, {w}, {h} lies outside the frame of {frame.shape[1]}x{frame.shape[0]} pixels"
        )
    return crop.copy()  # else the whole frame would be kept for it


def _load(path: Path, rows: list[Row], first_frame: int, positions: Iterable[int]) -> Iterator[Load]:
    """Frames are decoded one after the other: seeking is not exact in every format."""
    video = cv2.VideoCapture(str(path))
    number, frame, ended = first_frame - 1, None, False
    try:
        for position in positions:
            row = rows[position]
            while number < row.frame and not ended:
                number += 1
                ended = not video.grab()
                frame = None
            if frame is None and not ended:
                decoded, frame = video.retrieve()
                ended = not decoded
            if ended or frame is None:
                yield functools.partial(_fail, f"the video ends before frame {row.frame}: its last is {number - 1}")
                continue
            try:
                crop = cut(frame, row.box)
            except ValueError as error:
                yield functools.partial(_fail, str(error))
            else:
                yield functools.partial(_self, crop)
    finally:
        video.release()


def _fail(reason: str) -> np.ndarray:
    raise ValueError(reason)


def _self(crop: np.ndarray) -> np.ndarray:
    return crop


def _rate(path: Path) -> float:
    """Frames a second. Raises ValueError for a file that is no video."""
    video = cv2.VideoCapture(str(path))
    try:
        rate = video.get(cv2.CAP_PROP_FPS) if video.isOpened() and video.grab() else 0
    finally:
        video.release()
    if not rate > 0 or not math.isfinite(rate):
        raise ValueError(f"{path}: found a file that OpenCV cannot read as a video; expected one with frames")
    return rate


def _boxes(path: Path) -> list[tuple[int, tuple[int, str, str, tuple[int, int, int, int]]]]:
    """(line, (frame, track, person, box)) of each box."""
    if path.suffix == ".csv":
        lines = read_csv(path, COLUMNS, needed=COLUMNS[:5])
    else:
        cells = [
            (i, line.split(",")) for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if line
        ]
        names = ("frame", "track", "x", "y", "w", "h")
        lines = [(line, dict(zip(names, map(str.strip, each), strict=False))) for line, each in cells]
    return [(line, _box(cells, f"{path}, line {line}")) for line, cells in lines]


def _box(cells: dict[str, str], where: str) -> tuple[int, str, str, tuple[int, int, int, int]]:
    try:
        frame = int(cells["frame"])
        x, y, w, h = (float(cells[name]) for name in ("x", "y", "w", "h"))
        left, top = round(x), round(y)  # both edges are rounded, so that neighbouring boxes stay neighbours
        box = (left, top, round(x + w) - left, round(y + h) - top)
    except (KeyError, ValueError, OverflowError):
        said = ", ".join(cells.values())
        raise ValueError(
            f"{where}: found {said}; expected frame, x, y, w, h as numbers (MOT: frame, track first)"
        ) from None
    track = cells.get("track", "")
    return frame, "" if track == "-1" else track, cells.get("person", ""), box  # MOT: -1 where not known
