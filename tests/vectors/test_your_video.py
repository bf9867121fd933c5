"""Every command of docs/your_video.md, in its order, on drawn frames; and that what it says of each is so."""

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid.vectors.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "your_video.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def film(path: Path, people: list[Path], boxes: Path) -> None:
    """Six frames of 160x80; person i walks at x = 40 i + 2 frame as track i + 1. The boxes as the page has them."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (160, 80))
    lines = ["frame,x,y,w,h,track"] if boxes.suffix == ".csv" else []
    for frame in range(1, 7):
        image = np.full((80, 160, 3), 90, np.uint8)
        for i, person in enumerate(people):
            x = 35 * i + 2 * frame
            image[8:72, x : x + 32] = cv2.imread(str(person))
            lines.append(
                f"{frame},{x},8,32,64,{i + 1}" if boxes.suffix == ".csv" else f"{frame},{i + 1},{x},8,32,64,1,-1,-1,-1"
            )
        writer.write(image)
    writer.release()
    boxes.write_text("\n".join(lines) + "\n")


@pytest.fixture
def place(trained, tiny_world, tmp_path, monkeypatch) -> Path:
    """A working folder with all that the page begins with."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(trained)
    (tmp_path / "people").symlink_to(tiny_world / "target" / "bounding_box_test")
    looks = [sorted((tiny_world / "target" / "query").glob(f"*_c{camera}*"))[:4] for camera in (1, 2)]
    film(tmp_path / "door.avi", looks[0], tmp_path / "door.csv")
    film(tmp_path / "yard.avi", looks[1], tmp_path / "yard.txt")
    assert cv2.imwrite(str(tmp_path / "person.png"), cv2.imread(str(looks[0][2])))  # track 3
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_page(place, call):
    said = {line: call(*shlex.split(line)[1:]) for line in COMMANDS}
    assert len(said) == len(COMMANDS) == 11
    door, yard, table, page, everybody, add, minutes, _, calibrated, fmr, removed = said.values()
    assert "24 vectors of 128 numbers" in door
    assert "24 vectors of 128 numbers" in yard
    assert {path.suffix for path in (place / "vectors").rglob("[!.]*.*")} == {".json", ".npz", ".csv"}
    rows = [line.split() for line in table.splitlines()[1:]]
    assert rows[0] == ["rank", "score", "camera", "time", "track", "frame", "box", "path"]
    assert [row[4] for row in rows[1:]] == ["3"] * 5  # the person, in five of its six frames
    assert page.startswith("found.html: 1 queries")
    assert (place / "found.html").read_text().count("<img ") == 11
    assert len(json.loads(everybody)["answers"]) == 24
    assert "24 rows of vectors/yard added" in add
    assert {line.split()[2] for line in minutes.splitlines()[2:]} == {"yard"}
    assert "false match rate 0.01 a pair" in calibrated
    assert "query person.png" in fmr
    assert "12 rows removed" in removed
    left = [track for _, shard in Store.open("vectors/door").shards() for track in shard.columns["track"].tolist()]
    assert sorted(set(left)) == ["1", "2", "4"]
    assert len(left) == 36
