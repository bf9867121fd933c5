"""Lists of one's own as CSV files: dialects that leave no doubt are read, anything else is one line with file and line."""

from pathlib import Path

import pytest
from trees import grow

from reid.data.datasets import folder

ROWS = [
    ("b.jpg", "anna", "3", "train"),
    ("a.jpg", "zoë", "", "train"),
    ("c.jpg", "ben", "1", "query"),
    ("d.jpg", "ben", "2", "gallery"),
]
HEADER = ("path", "pid", "camid", "split")


def text(header=HEADER, rows=ROWS, separator=",", order=(0, 1, 2, 3), end="\n"):
    return "".join(separator.join(line[place] for place in order) + end for line in (header, *rows))


def written(root: Path, content: str | bytes, name: str = "list.csv") -> Path:
    grow(root / "mine", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (root / "mine" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def read(root: Path, **options):
    """{name: (pid, camid)} of train, query and gallery."""
    made = folder.load(root, path="mine", **options)
    sides = (made.train, made.trials[0].query, made.trials[0].gallery)
    return [{Path(sample.path).name: (sample.pid, sample.camid) for sample in samples} for samples in sides]


EXPECTED = [{"a.jpg": (3, None), "b.jpg": (1, 3)}, {"c.jpg": (2, 1)}, {"d.jpg": (2, 2)}]


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text(separator=";"),
        text(separator="\t"),
        text(end="\r\n"),
        text(end="\r"),
        text(order=(3, 1, 0, 2)),
        text(header=("Image Path", "Person-ID", "Camera", "Subset")),
        text(header=(" FILE_NAME", "label ", "CamID", "part")),
        text(rows=[(*row[:3], row[3].upper()) for row in ROWS]),
        text(rows=[(row[0], row[1], row[2] and f"{row[2]}.0", row[3]) for row in ROWS]),
        text(header=(*HEADER, "colour"), rows=[(*row, "red") for row in ROWS], order=(4, 0, 1, 2, 3)),
        text().encode("utf-8-sig"),
        text().encode("utf-16"),
        text().encode("utf-16-le"),
        text().encode("utf-16-be"),
        text().encode("latin-1"),
        text() + "\n,,,\n",
    ],
)
def test_dialects_that_leave_no_doubt_are_read(tmp_path, content):
    assert read(written(tmp_path, content)) == EXPECTED


def test_a_pid_is_one_number_however_it_is_written(tmp_path):
    pids = iter(["7.0", "10", "7", "7.00"])
    made = read(written(tmp_path, text(rows=[(row[0], next(pids), *row[2:]) for row in ROWS])))
    assert [{pid for pid, _ in side.values()} for side in made] == [{1, 2}, {2}, {2}]


def changed(place, value, row=1):
    rows = [list(line) for line in ROWS]
    rows[row][place] = value
    return text(rows=rows)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (changed(1, ""), 3, "found the pid '', which is no person"),
        (changed(1, "nan"), 3, "found the pid 'nan'"),
        (changed(1, "-1"), 3, "found the pid '-1'"),
        (changed(1, "-7.0"), 3, "found the pid '-7.0'"),
        (changed(2, "-1"), 3, "found the camid '-1', which is neither a whole number from 0 nor empty"),
        (changed(2, "nan"), 3, "found the camid 'nan'"),
        (changed(2, "1.5"), 3, "found the camid '1.5'"),
        (changed(2, "9" * 19), 3, "found the camid '9999"),
        (changed(3, "val"), 3, "found the split 'val'"),
        (changed(0, "../a.jpg"), 3, "stays below"),
        (changed(0, '"a.jpg'), 3, "found a lost quote"),
        (changed(0, '"a.jpg\n"'), 3, "found a quote that is not closed on its line"),
        (changed(0, "a.jpg,x"), 3, "found 5 cells, not 4 as on the first line"),
        (changed(0, "b.jpg"), 3, "found b.jpg as anna and as zoë, first on line 2"),
        (text(rows=[*ROWS, ROWS[3]]), 6, "found d.jpg a second time for gallery, first on line 5"),
        (text(header=("path", "pid", "cam", "where")), 1, "found 'path,pid,cam,where'; expected path,pid,camid,split"),
        (text(header=("path", "pid", "label", "split")), 1, "found 'path,pid,label,split'"),
        (text(header=ROWS[0], rows=ROWS[1:]), 1, "found 'b.jpg,anna,3,train'"),
        ('"' + text(), 1, "found '\"path,pid"),
        ("image,label\na.jpg,1\n", 1, "found 'image,label'"),
    ],
)
def test_what_says_nothing_or_two_things_is_one_line_with_file_and_line(tmp_path, content, line, message):
    with pytest.raises(ValueError, match="expected") as error:
        read(written(tmp_path, content))
    assert message in str(error.value)
    assert f"list.csv, line {line}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"list\.csv: found bytes that are no text"):
        read(written(tmp_path, b"path,pid,camid,split\n\0\0\n"))


def test_other_lists_beside_the_pictures_and_a_near_miss_with_another_form_are_passed_over(tmp_path):
    grow(tmp_path / "mine", "0001_c1.jpg")
    (tmp_path / "mine" / "colours.csv").write_text("colour,hex\nred,f00\n")
    assert folder.load(tmp_path, path="mine").variant == {"form": "market"}
    (tmp_path / "mine" / "labels.csv").write_text("image,label\na.jpg,1\n")
    with pytest.raises(ValueError, match="or set FORM market or classes"):
        folder.load(tmp_path, path="mine")
    assert folder.load(tmp_path, path="mine", form="market").variant == {"form": "market"}
