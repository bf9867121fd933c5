"""Converters on made releases: what they write is what our readers read, whatever killed them on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import list_trees
import numpy as np
import pytest
import releases
from person_trees import plant
from trees import grow

from reid.data import records
from reid.data.converters import cuhk03, cuhk_sysu, lists, split
from reid.data.datasets import cuhk03 as cuhk03_set
from reid.data.datasets import cuhk_sysu as cuhk_sysu_set
from reid.data.datasets import folder, vehicleid, veri776
from reid.data.records import Card, Dataset, Sample, Trial

TOOL = Path(__file__).resolve().parents[2] / "tools" / "convert.py"
# Runs a converter that dies at its n-th file, which it has written in half: nothing can be more sudden than SIGKILL.
KILLED = """
import os, sys
from reid.data import files
from reid.data.converters import cuhk03, cuhk_sysu, lists, split
from reid.data.datasets import folder

whole, left = files.write, [int(sys.argv[2])]

def write(path, content):
    left[0] -= 1
    if not left[0]:
        path.with_name(f".{path.name}.1").write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), 9)
    whole(path, content)

files.write = write
eval(sys.argv[1])
"""


def killed(call: str, at: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, call, str(at)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root`, locks aside."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}


# ---- CUHK-SYSU


def test_convert_cuhk_sysu_cuts_what_the_boxes_say_and_our_reader_reads_it(tmp_path):
    people = {
        7: [("s12.png", (3, 5, 10, 20), 0), ("s345.png", (1, 1, 4, 6), 1)],
        11_934: [("s12.png", (40, 30, 30, 30), 0)],  # leaves the scene of 50x40
    }
    release = releases.cuhk_sysu(tmp_path / "release", people)
    written = cuhk_sysu.convert(release, tmp_path / "data" / "cuhksysu")
    loaded = cuhk_sysu_set.load(tmp_path / "data", check_counts=False)
    assert loaded.root == written
    assert [(Path(sample.path).name, sample.pid) for sample in loaded.train] == [
        ("p00007_n01_s00012_hard0.png", 7),
        ("p00007_n02_s00345_hard1.png", 7),
        ("p11934_n01_s00012_hard0.png", 11_934),
    ]
    scenes = {name: cv2.imread(str(release / "Image" / "SSM" / name)) for name in ("s12.png", "s345.png")}
    # MATLAB's scene(y : y+h, x : x+w) has both ends and counts from 1.
    expected = [scenes["s12.png"][4:25, 2:13], scenes["s345.png"][0:7, 0:5], scenes["s12.png"][29:, 39:]]
    for sample, crop in zip(loaded.train, expected, strict=True):
        np.testing.assert_array_equal(cv2.imread(sample.path), crop)
    assert "found 2 train ids, expected 11,934" in loaded.notes[0]


@pytest.mark.parametrize("at", [1, 40])
def test_convert_cuhk_sysu_killed_and_continued_equals_the_unbroken_one(tmp_path, at):
    release = releases.cuhk_sysu(tmp_path / "release", releases.crowd(30))
    cuhk_sysu.convert(release, tmp_path / "unbroken")
    killed(f"cuhk_sysu.convert({str(release)!r}, {str(tmp_path / 'broken')!r})", at)
    assert not (tmp_path / "broken" / "cropped_image").exists(), "nothing half-written has the set's name"
    (half,) = (path for path in (tmp_path / "broken").iterdir() if path.is_dir())
    kept = records.images(half)
    assert bool(kept) == (at > 1)
    for path in kept[:2]:  # what a disk that lost its power does to files
        path.write_bytes(path.read_bytes()[:-20])
    cuhk_sysu.convert(release, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")
    assert len(contents(tmp_path / "broken")) == 90


def test_convert_goes_on_with_what_is_there_and_leaves_a_whole_folder_alone(tmp_path, monkeypatch):
    release = releases.cuhk_sysu(tmp_path / "release", releases.crowd(30))
    killed(f"cuhk_sysu.convert({str(release)!r}, {str(tmp_path / 'out')!r})", 20)
    cut = []
    whole = cuhk_sysu._cut
    monkeypatch.setattr(cuhk_sysu, "_cut", lambda scenes, source: cut.append(source) or whole(scenes, source))
    cuhk_sysu.convert(release, tmp_path / "out")
    assert 0 < len(cut) < 30, "some of the 30 scenes were done, however fast it was"
    cuhk_sysu.convert(release, tmp_path / "out")
    assert len(cut) < 30, "nothing is left to do"


def test_convert_takes_nothing_over_from_another_release(tmp_path):
    first = releases.cuhk_sysu(tmp_path / "first", releases.crowd(30))
    moved = {p: [(s, (x + 1, y, w, h), hard) for s, (x, y, w, h), hard in own] for p, own in releases.crowd(30).items()}
    second = releases.cuhk_sysu(tmp_path / "second", moved)
    killed(f"cuhk_sysu.convert({str(first)!r}, {str(tmp_path / 'out')!r})", 40)
    cuhk_sysu.convert(second, tmp_path / "out")
    cuhk_sysu.convert(second, tmp_path / "alone")
    written = {name.rpartition("/")[2]: data for name, data in contents(tmp_path / "out" / "cropped_image").items()}
    assert written == contents(tmp_path / "alone" / "cropped_image")


def test_convert_refuses_a_folder_with_other_pictures(tmp_path):
    release = releases.cuhk_sysu(tmp_path / "release", releases.crowd(3))
    grow(tmp_path / "out" / "cropped_image", "p00001_n01_s00001_hard0.png")
    with pytest.raises(
        ValueError, match=r"1 pictures that this release does not give and 9 of its 9 missing; .*move it away"
    ):
        cuhk_sysu.convert(release, tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("appearance", "message"),
    [
        (("../s1.png", (1, 1, 2, 2), 0), r"found the scene '\.\./s1\.png' of person 1"),
        (("/etc/s1.png", (1, 1, 2, 2), 0), "found the scene '/etc/s1.png'"),
        (("s1.png", (60, 1, 2, 2), 0), r"s1\.png: found the box \[60, 1, 2, 2\]; expected one within 50x40"),
        (("s1.png", (-9, -9, 2, 2), 0), r"found the box \[-9, -9, 2, 2\]"),
        (("s1.png", (1, 1, 2), 0), r"Person\.mat: found no people that can be read"),
    ],
)
def test_convert_cuhk_sysu_refuses_what_no_release_holds(tmp_path, appearance, message):
    with pytest.raises(ValueError, match=message):
        cuhk_sysu.convert(releases.cuhk_sysu(tmp_path / "release", {1: [appearance]}), tmp_path / "out")
    assert not (tmp_path / "out" / "cropped_image").exists()


def test_convert_cuhk_sysu_names_what_is_missing_or_damaged(tmp_path):
    release = releases.cuhk_sysu(tmp_path / "release", releases.crowd(3))
    scene, mat = release / "Image" / "SSM" / "s2.png", release / "annotation" / "Person.mat"
    scene.write_bytes(b"")
    with pytest.raises(ValueError, match=r"s2\.png: found a file that cannot be decoded"):
        cuhk_sysu.convert(release, tmp_path / "out")
    scene.unlink()
    with pytest.raises(FileNotFoundError, match=r"found 1 of 3 scenes missing, the first s2\.png"):
        cuhk_sysu.convert(release, tmp_path / "out")
    mat.write_bytes(mat.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"Person\.mat: found no people that can be read"):
        cuhk_sysu.convert(release, tmp_path / "out")
    mat.unlink()
    with pytest.raises(FileNotFoundError, match=r"found no such file; expected the person search release"):
        cuhk_sysu.convert(release, tmp_path / "out")


def test_convert_cuhk_sysu_refuses_a_person_written_twice(tmp_path):
    release = releases.cuhk_sysu(
        tmp_path / "release", {1: [("s1.png", (1, 1, 2, 2), 0)], 2: [("s1.png", (1, 1, 2, 2), 0)]}
    )
    people = cuhk_sysu._people(release / "annotation" / "Person.mat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuhk_sysu, "_people", lambda file: [people[0], people[0]])
        with pytest.raises(ValueError, match="pictures of one name"):
            cuhk_sysu.convert(release, tmp_path / "out")


# ---- CUHK03


def test_convert_cuhk03_writes_what_our_reader_reads(tmp_path):
    release = releases.cuhk03(tmp_path / "cuhk03" / "cuhk03_release")
    folders = cuhk03.convert(release, tmp_path / "cuhk03")
    assert [path.name for path in folders] == ["images_detected", "images_labeled"]
    for kind, every in (("detected", 3), ("labelled", 5)):
        loaded = cuhk03_set.load(tmp_path, boxes=kind, all=True, check_counts=False)
        assert len({sample.pid for sample in loaded.train}) == sum(releases.PAIRS)
        expected = {}
        for pair, people in enumerate(releases.PAIRS):
            for person, number in np.ndindex(people, 10):
                if (number + person) % every:
                    name = f"{pair + 1}_{person + 1:03d}_{1 if number < 5 else 2}_{number + 1:02d}.png"
                    expected[name] = releases.drawn(5, 3, seed=1_000 * pair + 100 * person + number)
        assert [Path(sample.path).name for sample in loaded.train] == sorted(expected)
        for sample in loaded.train:
            np.testing.assert_array_equal(cv2.imread(sample.path)[..., ::-1], expected[Path(sample.path).name])


def test_convert_cuhk03_killed_and_continued_equals_the_unbroken_one(tmp_path):
    release = releases.cuhk03(tmp_path / "release")
    cuhk03.convert(release.parent, tmp_path / "unbroken")
    killed(f"cuhk03.convert({str(release)!r}, {str(tmp_path / 'broken')!r})", 30)
    assert not (tmp_path / "broken" / "images_detected").exists()
    cuhk03.convert(release, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_convert_cuhk03_writes_one_kind_of_boxes_where_asked(tmp_path):
    release = releases.cuhk03(tmp_path / "release")
    cuhk03.convert(release, tmp_path / "out", ["labelled"])
    assert {name.partition("/")[0] for name in contents(tmp_path / "out")} == {"images_labeled"}
    with pytest.raises(ValueError, match="found the boxes 'labeled'; expected detected or labelled"):
        cuhk03.convert(release, tmp_path / "out", ["labeled"])


def test_convert_cuhk03_names_a_file_of_another_form(tmp_path):
    file = releases.cuhk03(tmp_path / "release")
    with pytest.raises(FileNotFoundError, match=r"found no .*nowhere; expected the release's cuhk-03\.mat"):
        cuhk03.convert(tmp_path / "nowhere", tmp_path / "out")
    with h5py.File(file, "a") as mat:
        del mat["labeled"]
        mat["detected"][0, 4] = mat[mat["detected"][0, 0]][0, 0]  # a picture where people should be
    with pytest.raises(ValueError, match="found no labelled pictures that can be read"):
        cuhk03.convert(file, tmp_path / "out", ["labelled"])
    with pytest.raises(ValueError, match="found no detected pictures that can be read"):
        cuhk03.convert(file, tmp_path / "out", ["detected"])
    file.write_bytes(file.read_bytes()[:1_000])
    with pytest.raises(ValueError, match=r"found no HDF5 file .*get it again"):
        cuhk03.convert(file, tmp_path / "out")


# ---- lists and splits


def dataset(root: Path, trials: list[Trial], train: list[Sample], metric: str = "retrieval") -> Dataset:
    return Dataset("made", root, train, trials, Card("made", "none", "none"), metric=metric)


def samples(root: Path, *rows: tuple[str, int, int | None]) -> list[Sample]:
    grow(root, *(name for name, _, _ in rows))
    return [Sample(str(root / name), pid, camid) for name, pid, camid in rows]


def test_convert_list_is_read_back_as_the_set_it_was_made_of(tmp_path):
    root = tmp_path / "set"
    train = samples(root, ("image_train/0002_c001.jpg", 2, 1), ('a "b",c.jpg', 3, 20))
    query, gallery = samples(root, ("q.jpg", 5, 1)), samples(root, ("g.jpg", 5, 2), ("h.jpg", 0, 2))
    file = lists.convert(dataset(root, [Trial(query, gallery)], train, "reid"), root / "list.csv")
    assert file.read_text(encoding="utf-8").splitlines()[:2] == [
        "path,pid,camid,split",
        "image_train/0002_c001.jpg,2,1,train",
    ]
    loaded = folder.load(tmp_path, path="set/list.csv")
    (trial,) = loaded.trials
    both = [(train, loaded.train), (query, trial.query), (gallery, trial.gallery)]
    for ours, theirs in both:
        assert sorted((s.path, s.camid) for s in ours) == [(s.path, s.camid) for s in theirs]
    # Numbers are those of the sorted texts, from 1.
    assert [s.pid for s in (*loaded.train, *trial.query, *trial.gallery)] == [3, 2, 4, 4, 1]


def test_convert_list_of_a_set_that_searches_itself(tmp_path):
    everything = samples(tmp_path, ("a.jpg", 1, None), ("b.jpg", 1, None), ("c.jpg", 2, None))
    lists.convert(dataset(tmp_path, [Trial(everything)], []), tmp_path / "list.csv")
    (trial,) = folder.load(tmp_path, path="list.csv", metric="retrieval").trials
    assert trial.gallery is None
    assert [(s.path, s.pid) for s in trial.query] == [(s.path, s.pid) for s in everything]


def test_convert_list_holds_one_trial(tmp_path):
    one, two = samples(tmp_path, ("a.jpg", 1, None)), samples(tmp_path, ("b.jpg", 1, None))
    both = dataset(tmp_path, [Trial(one, two), Trial(two, one)], [])
    with pytest.raises(ValueError, match="made: found trial 0; expected one of its 2, from 1"):
        lists.convert(both, tmp_path / "list.csv")
    with pytest.raises(ValueError, match="found trial 3"):
        lists.convert(both, tmp_path / "list.csv", trial=3)
    lists.convert(both, tmp_path / "list.csv", trial=2)
    assert (tmp_path / "list.csv").read_text(
        encoding="utf-8"
    ) == "path,pid,camid,split\nb.jpg,1,,query\na.jpg,1,,gallery\n"


def test_convert_list_of_vehicle_sets(tmp_path):
    plant(
        tmp_path / "VeRi",
        [f"image_{part}/000{min(c, 2)}_c00{c}_0_0.jpg" for c, part in enumerate(("train", "query", "test"), 1)],
    )
    numbers = [(i, 1 + i // 2) for i in range(8)]
    place = list_trees.vehicleid(tmp_path / "VehicleID_V1.0", {"train_list": numbers[:4], "test_list_800": numbers[4:]})
    plant(place, (f"image/{i:07d}.jpg" for i, _ in numbers))
    veri = veri776.load(tmp_path, check_counts=False)
    assert lists.convert(veri, tmp_path / "VeRi" / "list.csv").read_text(encoding="utf-8") == (
        "path,pid,camid,split\nimage_train/0001_c001_0_0.jpg,1,1,train\n"
        "image_query/0002_c002_0_0.jpg,2,2,query\nimage_test/0002_c003_0_0.jpg,2,3,gallery\n"
    )
    every = vehicleid.load(tmp_path, protocol="dml", check_counts=False)
    lists.convert(every, place / "dml.csv")
    (trial,) = folder.load(place, path="dml.csv", metric="retrieval").trials
    assert [Path(s.path).name for s in trial.query] == [f"{i:07d}.jpg" for i in range(4, 8)]
    draws = vehicleid.load(tmp_path, check_counts=False)
    lists.convert(draws, place / "draw.csv", trial=10)
    (trial,) = folder.load(place, path="draw.csv", metric="retrieval").trials
    assert [s.path for s in trial.gallery] == sorted(s.path for s in draws.trials[9].gallery)


def test_convert_list_lies_above_its_pictures(tmp_path):
    own = samples(tmp_path / "set", ("a.jpg", 1, None))
    with pytest.raises(ValueError, match=r"lists/list\.csv: found the picture .*a\.jpg; .*write it to .*set/list\.csv"):
        lists.convert(dataset(tmp_path / "set", [], own), tmp_path / "lists" / "list.csv")
    assert not (tmp_path / "lists").exists()


def whole_set(root: Path) -> Dataset:
    """Ten classes of four pictures to train on, a class of one, and two classes to score."""
    train = samples(
        root, *((f"{pid}_{k}.jpg", pid, None) for pid in range(1, 11) for k in range(4)), ("11_0.jpg", 11, None)
    )
    test = samples(root, *((f"{pid}_{k}.jpg", pid, None) for pid in (21, 22) for k in range(2)))
    return dataset(root, [Trial(test)], train)


def test_convert_split_keeps_classes_apart_and_test_pictures_out(tmp_path):
    whole = whole_set(tmp_path)
    file = split.convert(whole, tmp_path / "split.csv", fraction=0.3, seed=1)
    loaded = folder.load(tmp_path, path="split.csv", metric="retrieval")
    (trial,) = loaded.trials
    assert trial.gallery is None
    assert sorted(s.path for s in (*loaded.train, *trial.query)) == sorted(s.path for s in whole.train)
    held = {s.pid for s in trial.query}
    assert len(held) == 3
    assert not held & {s.pid for s in loaded.train}
    assert str(tmp_path / "11_0.jpg") in {s.path for s in loaded.train}, "a class of one picture has nothing to find"
    again, other = (split.convert(whole, tmp_path / f"{n}.csv", fraction=0.3, seed=n) for n in (1, 2))
    assert file.read_bytes() == again.read_bytes() != other.read_bytes()


def test_convert_split_killed_leaves_no_file(tmp_path):
    grow(tmp_path / "set" / "classes", "1/a.jpg", "1/b.jpg", "2/a.jpg", "2/b.jpg", "3/a.jpg", "3/b.jpg")
    call = f"split.convert(folder.load({str(tmp_path / 'set')!r}, path='classes'), {str(tmp_path / 'set/split.csv')!r}, 0.34)"
    killed(call, 1)
    assert not (tmp_path / "set" / "split.csv").exists()


# ---- the tool


def tool(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_convert_tool_lists_and_refuses_in_one_line(tmp_path):
    grow(tmp_path / "mine", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    file = tmp_path / "mine" / "list.csv"
    done = tool("split", "{NAME: folder, PATH: mine}", file, "--root", tmp_path, "--fraction", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{file}\n"
    assert [line.rpartition(",")[2] for line in file.read_text().splitlines()[1:]] in (
        ["train", "train", "test", "test"],
        ["train", "train", "query", "gallery"],
    )
    done = tool("cuhk_sysu", tmp_path, tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path}/annotation/Person.mat: found no such file")
    assert done.stderr.count("\n") == 1
