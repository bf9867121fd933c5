"""Where pictures come from: folders, lists, archives and videos, what is known of each picture, and what is refused."""

import math
import os
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid.vectors import rows, sources, video
from reid.vectors.rows import Row


def picture(number: int, size=(20, 10)) -> np.ndarray:
    """(H, W, 3) uint8 RGB of one colour, another for each number."""
    return np.full((*size, 3), (number, 2 * number % 256, 255 - number), np.uint8)


def png(number: int) -> bytes:
    return cv2.imencode(".png", picture(number)[..., ::-1])[1].tobytes()


@pytest.fixture
def tree(tmp_path) -> Path:
    """Three pictures at three depths, a text file, hidden pictures and a picture that is none."""
    folder = tmp_path / "tree"
    names = ["b.png", "a/1.png", "a/deep/er/2.PNG", ".hidden.png", ".cache/3.png", "__MACOSX/4.png"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    (folder / "notes.txt").write_text("no picture")
    (folder / "a" / "bad.jpg").write_bytes(b"no picture")
    (folder / "a" / "empty.jpg").write_bytes(b"")
    return folder


EXPECTED = {
    "a/1.png": 1,
    "a/bad.jpg": "10 bytes that are no picture",
    "a/deep/er/2.PNG": 2,
    "a/empty.jpg": "zero bytes",
}
EXPECTED["b.png"] = 0


def loaded(source: sources.Source, positions=None) -> dict:
    """By path the number of each picture, or why it cannot be read."""
    positions = range(len(source.rows)) if positions is None else positions
    found = {}
    for position, load in zip(positions, source.load(positions), strict=True):
        try:
            image = load()
            np.testing.assert_array_equal(image, picture(int(image[0, 0, 0])))
            found[source.rows[position].path] = int(image[0, 0, 0])
        except (ValueError, OSError) as error:
            found[source.rows[position].path] = str(error).partition(" OpenCV")[0]
    return found


def packed(tree: Path, path: Path) -> Path:
    """The tree as an archive, its members in another order than sorted."""
    files = sorted((file for file in tree.rglob("*") if file.is_file()), reverse=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(tree))
    else:
        with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '').replace('tgz', 'gz')}") as archive:
            for file in files:
                archive.add(file, file.relative_to(tree))
    return path


def test_folder_of_any_depth_is_read_sorted_without_what_is_hidden(tree):
    source = sources.find(tree)
    assert list(loaded(source).items()) == list(EXPECTED.items())
    assert loaded(source, [1, 4]) == {"a/bad.jpg": EXPECTED["a/bad.jpg"], "b.png": 0}


def test_links_are_followed_and_a_circle_ends(tree, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.png").write_bytes(png(5))
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    (tree / "a" / "back").symlink_to(tree)
    assert loaded(sources.find(tree)) == {**EXPECTED, "link/5.png": 5}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz"])
def test_archives_give_what_the_folder_gives(tree, tmp_path, name):
    source = sources.find(packed(tree, tmp_path / name))
    assert loaded(source) == EXPECTED
    paths = [row.path for row in source.rows]
    assert loaded(source, [2, 3]) == {path: EXPECTED[path] for path in paths[2:4]}


def test_list_of_paths_and_csv_with_what_is_known(tree, tmp_path):
    (tree / "all.txt").write_text("b.png\n\na/1.png\n")
    assert loaded(sources.find(tree / "all.txt")) == {"b.png": 0, "a/1.png": 1}
    listed = tmp_path / "list.csv"
    listed.write_text(
        "time,path,person,camera\n1.5,b.png,Ann,3\n2024-05-01T00:00:10,a/1.png,,\n,gone.png,,\n"
        "2024-05-01T02:00:10+02:00,a/1.png,\u00fc,door\n",
        encoding="utf-8",
    )
    source = sources.find(listed, root=tree)
    date = 1714521610.0  # `date -ud 2024-05-01T00:00:10 +%s`
    assert source.rows[0] == Row("b.png", "3", 1.5, "", "Ann")
    assert source.rows[1] == Row("a/1.png", "", date)
    assert math.isnan(source.rows[2].time)
    assert source.rows[3] == Row("a/1.png", "door", date, "", "\u00fc")
    assert loaded(source) == {"b.png": 0, "a/1.png": 1, "gone.png": "no such file"}


def test_pattern_reads_paths_and_what_it_does_not_find_stays_unknown(tree):
    source = sources.find(tree, pattern=r"(?P<camera>[ab])/(?:(?P<time>\d)\.)?")
    assert [(row.camera, row.time) for row in source.rows[:2]] == [
        ("a", 1.0),
        ("a", pytest.approx(math.nan, nan_ok=True)),
    ]
    assert source.rows[4].camera == ""


def test_listing_changes_with_any_row(tree):
    assert sources.find(tree).listing() == sources.find(tree).listing()
    assert sources.find(tree, pattern="(?P<camera>a)").listing() != sources.find(tree).listing()
    before = sources.find(tree).listing()
    (tree / "a" / "new.png").write_bytes(png(9))
    assert sources.find(tree).listing() != before


def test_name_that_is_not_utf8_is_read(tree):
    (tree / os.fsdecode(b"\xff.png")).write_bytes(png(7))
    assert loaded(sources.find(tree)) == {**EXPECTED, os.fsdecode(b"\xff.png"): 7}
    assert sources.find(tree).listing()


def test_columns_hold_what_rows_hold_and_none_at_all():
    made = rows.columns([Row("a", "1", 2.5, "t", "p", 3, (1, 2, 3, 4)), Row("bcd")])
    assert made["path"].tolist() == ["a", "bcd"]
    assert made["box"].tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert made["frame"].tolist() == [3, -1]
    empty = rows.columns([])
    assert {name: len(values) for name, values in empty.items()} == dict.fromkeys(Row._fields, 0)
    assert empty["box"].shape == (0, 4)


# ---- videos


@pytest.fixture
def film(tmp_path) -> Path:
    """Eight frames of 64x48, number i grey at 30 * i, with a white square of 8 pixels at x = 8 * i."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 4, (64, 48))
    for number in range(8):
        frame = np.full((48, 64, 3), 30 * number, np.uint8)
        frame[16:24, 8 * number : 8 * number + 8] = 255
        writer.write(frame)
    writer.release()
    return path


def crops(source) -> list:
    found = []
    for load in source.load(range(len(source.rows))):
        try:
            image = load()
            found.append((image.shape, round(float(image.mean()))))
        except ValueError as error:
            found.append(str(error))
    return found


def test_crops_are_cut_at_their_boxes_in_the_order_of_frames(film, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h,track\n4,24,16,8,8,one\n1,0.4,15.6,8,8,one\n4,40,0,30,10,two\n")
    source = video.find(film, boxes, camera="door", start=100)
    assert [(row.frame, row.track, row.time, row.camera) for row in source.rows] == [
        (1, "one", 100.0, "door"),
        (4, "one", 100.75, "door"),
        (4, "two", 100.75, "door"),
    ]
    assert source.rows[0].box == (0, 16, 8, 8)
    first, second, third = crops(source)
    assert first[0] == second[0] == (8, 8, 3)
    assert first[1] > 240
    assert second[1] > 240
    assert third == ((10, 24, 3), pytest.approx(90, abs=3))  # cut off at the frame's edge


def test_mot_text_and_a_first_frame_of_0(film, tmp_path):
    boxes = tmp_path / "gt.txt"
    boxes.write_text("3,7,24,16,8,8,1,-1,-1,-1\n0,-1,0,16,8,8,1,-1,-1,-1\n")
    source = video.find(film, boxes, first_frame=0)
    assert [(row.frame, row.track, row.time) for row in source.rows] == [(0, "", 0.0), (3, "7", 0.75)]
    assert all(crop[1] > 240 for crop in crops(source))


def test_video_that_ends_early_and_boxes_outside_cost_their_own_crops_only(film, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n8,56,16,8,8\n9,0,0,8,8\n12,0,0,8,8\n2,100,0,8,8\n2,-5,-5,10,10\n")
    found = crops(video.find(film, boxes))
    assert found[0] == "the box 100, 0, 8, 8 lies outside the frame of 64x48 pixels"
    assert found[1][0] == (5, 5, 3)
    assert found[2][1] > 240
    assert found[3:] == [f"the video ends before frame {number}: its last is 8" for number in (9, 12)]


def test_positions_in_the_middle_give_the_crops_of_the_whole(film, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n" + "".join(f"{i},0,0,64,48\n{i},0,0,9,9\n" for i in range(1, 9)))
    source = video.find(film, boxes)
    whole = [load() for load in source.load(range(16))]
    for position, load in zip((5, 6, 11), source.load([5, 6, 11]), strict=True):
        np.testing.assert_array_equal(load(), whole[position])


# ---- what is refused


def test_inputs_that_are_none(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(b"")
    (tmp_path / "cut.zip").write_bytes(packed(tree, tmp_path / "x.zip").read_bytes()[:300])
    (tmp_path / "cut.tar").write_bytes(packed(tree, tmp_path / "x.tar").read_bytes()[:700])
    (tmp_path / "cut.tar.gz").write_bytes(packed(tree, tmp_path / "x.tar.gz").read_bytes()[:200])
    for name, message in (
        ("gone", "found no .*gone; expected a folder, a list"),
        ("empty", "found no picture in"),
        ("x.bin", "found the file .*x.bin; expected a folder"),
        ("cut.zip", r"cut\.zip: found a damaged archive"),
        ("cut.tar", r"cut\.tar: found a damaged archive"),
        ("cut.tar.gz", r"cut\.tar\.gz: found a damaged archive"),
    ):
        with pytest.raises((ValueError, OSError), match=message) as error:
            sources.find(tmp_path / name)
        assert "\n" not in str(error.value)


def test_archive_whose_members_leave_it_or_are_links(tmp_path):
    info = tarfile.TarInfo("../out.png")
    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        archive.addfile(info)
    link = tarfile.TarInfo("in.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(ValueError, match="expected one that stays below"):
        sources.find(tmp_path / "out.tar")
    with pytest.raises(ValueError, match=r"'in\.png', which is no plain file"):
        sources.find(tmp_path / "link.tar")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,colour\na.png,red\n", "found the unknown column 'colour'; expected path"),
        ("camera\n1\n", "found the columns camera; expected path"),
        ("path,path\na,b\n", "each once"),
        ("", "found the columns none"),
        ("path,camera\na.png\n", "line 2: expected 2 cells"),
        ("path,time\na.png,noon\n", "line 2: found the time 'noon'"),
        ("path,time\na.png,inf\n", "line 2: found the time 'inf'"),
        ("path,camera\n,1\n", "line 2: found no path"),
        ("path\n../a.png\n", "expected one that stays below"),
        ("path\n", "found no picture"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        sources.find(tmp_path / "list.csv")
    assert "\n" not in str(error.value)


def test_list_that_is_no_text_and_a_root_that_is_not_there(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        sources.find(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("a.png")
    with pytest.raises(FileNotFoundError, match="found no folder"):
        sources.find(tmp_path / "list.txt", root=tmp_path / "gone")
    with pytest.raises(ValueError, match="--root: is for lists"):
        sources.find(tmp_path, root=tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no regular expression"),
        ("abc", "found the groups none; expected one or more of"),
        ("(?P<colour>.)", "found the groups colour; expected"),
        ("(?P<camera>nowhere)", "is found in no path, such as a/1.png"),
        (r"(?P<time>[a-z]+)\.", "found the time 'bad'"),
    ],
)
def test_patterns_that_do_not_fit(tree, pattern, message):
    with pytest.raises(ValueError, match=message):
        sources.find(tree, pattern=pattern)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,x,y,w,h\n0,0,0,8,8\n", "line 2: found frame 0 and a box of 8x8; expected frames from 1 on"),
        ("frame,x,y,w,h\n1,0,0,0,8\n", "a box of 0x8; expected"),
        ("frame,x,y,w,h\n1,0,0,nan,8\n", "expected frame, x, y, w, h as numbers"),
        ("frame,x,y,w,h\n1,0,0,inf,8\n", "expected frame, x, y, w, h as numbers"),
        ("frame,x,y,w\n1,0,0,8\n", "expected frame, x, y, w, h, and any of"),
        ("frame,x,y,w,h\n", "found no box"),
    ],
)
def test_boxes_that_cannot_be_read(film, tmp_path, text, message):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        video.find(film, tmp_path / "boxes.csv")


def test_files_that_are_no_video_and_no_boxes(film, tmp_path):
    (tmp_path / "boxes.txt").write_text("1,2,3\n")
    with pytest.raises(ValueError, match=r"boxes.txt, line 1: found 1, 2, 3; expected frame, x, y, w, h"):
        video.find(film, tmp_path / "boxes.txt")
    with pytest.raises(FileNotFoundError, match="expected a video, and --boxes"):
        video.find(film, tmp_path / "gone.txt")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match="cannot read as a video"):
        video.find(tmp_path / "text.mp4", tmp_path / "boxes.txt")
