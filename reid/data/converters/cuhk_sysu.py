"""CUHK-SYSU: people cut out of the scenes of the person search release.

The release: annotation/Person.mat and Image/SSM/s1.jpg, ... Person.mat has a struct a person: idname (`p1`), nAppear, and
scene, a struct an appearance: imname (`s16929.jpg`), idlocate ([x y w h], counted from 1) and ishard (0 or 1).
Written: cropped_image/p00001_n01_s16929_hard0.png, as `reid.data.datasets.cuhk_sysu` reads them: person, number of the
appearance, scene, difficulty. These are the names and the boxes of the MATLAB script that the field passes around, whose
ranges take in both ends: a picture is one pixel wider and higher than w and h. Grey levels may differ by 1 from it, as JPEG
decoders do. A box that leaves its scene is cut at the edge.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from reid.data import records
from reid.data.converters import _pictures
from reid.data.converters._pictures import Job
from reid.data.datasets.cuhk_sysu import COUNTS

log = logging.getLogger("reid")

Box = tuple[int, int, int, int]  # x, y, w, h, counted from 1
_SCENE = re.compile(r"s(\d+)\.\w+")


class Appearance(NamedTuple):
    """One picture to be cut out of `scene`, the name of a file."""

    name: str
    scene: str
    box: Box


def convert(release: str | Path, output: str | Path) -> Path:
    """Cuts everybody out of `release` into `output`/cropped_image, and returns that folder.

    Raises FileNotFoundError where a part or a scene is missing, ValueError for a Person.mat of another form, a box outside
    its scene, or a scene that cannot be decoded.
    """
    release, output = Path(release), Path(output)
    scenes = release / "Image" / "SSM"
    people = _people(release / "annotation" / "Person.mat")
    by_scene: dict[str, list[Appearance]] = defaultdict(list)
    for appearance in people:
        by_scene[appearance.scene].append(appearance)
    missing = [scene for scene in by_scene if not (scenes / scene).exists()]
    if missing:
        raise FileNotFoundError(
            f"{scenes}: found {len(missing):,} of {len(by_scene):,} scenes missing, the first {missing[0]}; expected all of "
            "them: unpack the release again, whole"
        )
    jobs = [
        Job(tuple(a.name for a in own), (scene, tuple(a.box for a in own))) for scene, own in sorted(by_scene.items())
    ]
    found = {"train ids": len({a.name[:6] for a in people}), "train images": len(people)}
    for note in records.check_counts("cuhk_sysu", found, COUNTS, strict=False):
        log.warning("%s", note)
    _pictures.write(output / "cropped_image", jobs, partial(_cut, scenes), "scene")
    return output / "cropped_image"


def _people(file: Path) -> list[Appearance]:
    import scipy.io  # takes 0.2 s, which reading the set itself need not pay

    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: found no such file; expected the person search release, with annotation/Person.mat and Image/SSM/"
        )
    try:
        people = scipy.io.loadmat(file)["Person"].ravel()
        return [appearance for person in people for appearance in _appearances(person)]
    except Exception as error:  # a damaged file makes scipy raise anything from TypeError to zlib.error
        raise ValueError(f"{file}: found no people that can be read ({error!r}); get the release again") from error


def _appearances(person: np.void) -> Iterator[Appearance]:
    pid = int(str(person["idname"].item()).removeprefix("p"))
    scenes = person["scene"].ravel()
    number = int(person["nAppear"].item())
    if number > len(scenes):
        raise ValueError(f"person {pid} appears {number} times, in {len(scenes)} scenes")
    for n, scene in enumerate(scenes[:number], start=1):
        name = str(scene["imname"].item())
        match = _SCENE.fullmatch(name)  # also keeps the name below the folder of the scenes
        if match is None:
            raise ValueError(f"found the scene {name!r} of person {pid}; expected a name as s16929.jpg")
        x, y, w, h = (int(value) for value in scene["idlocate"].ravel())
        hard = int(scene["ishard"].item())
        yield Appearance(f"p{pid:05d}_n{n:02d}_s{int(match[1]):05d}_hard{hard}.png", name, (x, y, w, h))


def _cut(scenes: Path, source: tuple[str, tuple[Box, ...]]) -> Iterator[np.ndarray]:
    name, boxes = source
    # MATLAB turns no picture by its EXIF orientation, and the boxes were drawn on what it shows.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    packed = np.frombuffer(records.read(str(scenes / name)), np.uint8)
    scene = cv2.imdecode(packed, flags) if len(packed) else None
    if scene is None:
        raise ValueError(f"{scenes / name}: found a file that cannot be decoded; unpack the release again, whole")
    for x, y, w, h in boxes:
        picture = scene[max(y - 1, 0) : max(y + h, 0), max(x - 1, 0) : max(x + w, 0)]
        if not picture.size:
            height, width = scene.shape[:2]
            raise ValueError(f"{scenes / name}: found the box {[x, y, w, h]}; expected one within {width}x{height}")
        yield picture
