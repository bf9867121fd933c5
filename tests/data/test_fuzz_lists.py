"""Three hundred spoilt lists and folders: each is refused in one line, or what it gives is sound."""

import os
import shutil
from pathlib import Path

import limit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import picture

from reid.builder import refusals
from reid.data import sources
from reid.data.datasets import folder

NUMBERS = [
    *["1", "2", "0002", "7.0"] * 6,
    "0",
    "-1",
    "-2",
    "nan",
    "",
    "None",
    "9" * 25,
    "1e3",
    "zoë",
    '"',
    "x,y",
    "\u2028",
    "1\n",
]
PATHS = [f"{i}.jpg" for i in range(20)] + [
    "./1.jpg",
    "../1.jpg",
    "/1.jpg",
    "C:\\1.jpg",
    "sub\\c.jpg",
    "",
    "no.jpg",
    "x.heic",
    '"1.jpg',
]
SPLITS = [*["train"] * 6, *["query", "gallery"] * 2, "test", "TRAIN", "val", ""]
HEADERS = [
    *[["path", "pid", "camid", "split"]] * 8,
    *[["image", "label", "camera", "subset"]] * 3,
    ["path", "pid", "label", "split"],
    ["a.jpg", "1", "1", "train"],
    ["path", "pid"],
    [],
]
ENCODINGS = ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"]
SNIPPETS = [b"\0", b"\xff\xfe", b'"', b"\n", b"\r", b";", b",", b"\xe9", b"\xef\xbb\xbf"]
PARTS = [
    "",
    "bounding_box_train",
    "bounding_box_train",
    "query",
    "bounding_box_test",
    "train",
    "gallery",
    "test",
    "0001",
    "train/0001",
]
NAMES = [
    *[f"{pid:04d}_c{camid}" for pid in range(1, 7) for camid in (1, 2)],
    "0000_c1",
    "-1_c1",
    "-2_c1",
    f"1_c{10**25}",
    "x",
    ".hid",
]
SUFFIXES = [*[".jpg", ".png"] * 4, ".JPG", ".heic", ".txt", ".gif", ".csv", ""]
CONTENTS = [*[None] * 16, b"", b"text", picture()[:-5], picture() + bytes(3000), "pipe", "folder"]


@st.composite
def csvs(draw) -> bytes:
    """A list of a few rows, of which some are odd."""
    rows = [draw(st.sampled_from(HEADERS)), ["a.jpg", "1", "1", "train"], ["b.png", "2", "2", "train"]]
    for path, split in draw(st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(SPLITS)), max_size=3)):
        rows.append([path, draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(NUMBERS)), split])
    text = draw(st.sampled_from("\n\n\r")).join(draw(st.sampled_from(",,,;\t")).join(row) for row in rows)
    data = text.encode(draw(st.sampled_from(ENCODINGS)), errors="replace")
    for _ in range(draw(st.sampled_from([0, 0, 1]))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(SNIPPETS)) + data[at + draw(st.integers(0, 3)) :]
    return data


def fill(place: Path, files: list[tuple[str, str, str, object]]) -> None:
    for part, name, suffix, content in files:
        path = place / part / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            continue
        if content == "pipe":
            os.mkfifo(path)
        elif content == "folder":
            path.mkdir()
        else:
            value = len(list(place.rglob("*")))
            path.write_bytes(
                content if isinstance(content, bytes) else picture(".png" if suffix == ".png" else ".jpg", value=value)
            )


@pytest.mark.slow
def test_spoilt_lists_are_refused_in_one_line_or_sound(tmp_path):
    said: list[str] = []
    taken = []
    odd = st.tuples(*(st.sampled_from(those) for those in (PARTS, NAMES, SUFFIXES, CONTENTS)))

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.none() | csvs(), st.lists(odd, max_size=3), st.sampled_from(PARTS), st.sampled_from(["reid", "retrieval"])
    )
    def check(listed, files, part, metric):
        place = tmp_path / "mine"
        shutil.rmtree(place, ignore_errors=True)
        if listed is None:
            fill(place, [(part, name, ".jpg", None) for name in ("0001_c1", "0002_c2")])
        else:
            fill(
                place,
                [*(("", str(i), ".jpg", None) for i in range(20)), ("", "a", ".jpg", None), ("", "b", ".png", None)],
            )
            (place / "list.csv").write_bytes(listed)
        fill(place, files)
        try:
            with limit.seconds(20):
                made = folder.load(tmp_path, path="mine", metric=metric)
                refusals.check_pictures([made] if made.train else [], [made] if made.trials else [])
                if made.train:
                    sources.join([made])
        except (ValueError, OSError) as error:
            said.append(str(error))
            return
        taken.append(made)
        samples = [*made.train, *(s for trial in made.trials for s in (*trial.query, *(trial.gallery or ())))]
        assert samples
        assert all(0 <= s.pid < 2**63 and (s.camid is None or 0 <= s.camid < 2**63) for s in samples)
        assert all(Path(s.path).is_file() for s in samples)

    check()
    assert [line for line in said if "\n" in line] == []
    assert min(len(said), len(taken)) > 40
