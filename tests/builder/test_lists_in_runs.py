"""What a list says wrongly is in the log and in every row of results; what it cannot mean ends the run before its folder."""

import shutil
from pathlib import Path

import pytest
from tiny_run import build

from reid.builder import check, runs


@pytest.fixture
def leaky(tiny_world, tmp_path) -> Path:
    """The tiny world, with a person of source_a searched for in it, and a picture of source_b in the gallery of target."""
    root = tmp_path / "world"
    shutil.copytree(tiny_world, root)
    train = root / "source_a" / "bounding_box_train"
    shutil.copy(train / "0001_c1s1_000000_00.jpg", root / "source_a" / "query" / "0001_c1s1_000009_00.jpg")
    copied = root / "source_b" / "bounding_box_train" / "0002_c1s1_000000_00.jpg"
    shutil.copy(copied, root / "target" / "bounding_box_test" / "0012_c1s1_000009_00.jpg")
    return root


TARGETS = {"DATASETS.TARGETS": "[{NAME: folder, PATH: target}, {NAME: folder, PATH: source_a}]", "LOSSES": "[softmax]"}
NOTES = {
    "target": [
        "target: 1 of 67 pictures are trained on, the first target/bounding_box_test/0012_c1s1_000009_00.jpg = "
        "source_b/bounding_box_train/0002_c1s1_000000_00.jpg"
    ],
    "source_a": [
        "source_a: 1 of 67 pictures are trained on, the first query/0001_c1s1_000009_00.jpg = "
        "bounding_box_train/0001_c1s1_000000_00.jpg",
        "source_a: 1 of 9 people that are searched for are trained on, the first 1",
    ],
}


def test_pictures_and_people_on_both_sides_are_in_log_and_rows(leaky, tmp_path, capsys):
    rows = runs.train(build(leaky, tmp_path / "run", {**TARGETS, "SOLVER.MAX_STEPS": "2"}))
    notes = {row["dataset"]: row.get("notes") for row in rows}
    assert notes == {**NOTES, "mean": [*NOTES["target"], *NOTES["source_a"]]}
    said = capsys.readouterr()
    assert all(line in said.err + said.out for lines in NOTES.values() for line in lines)
    again = runs.score(None, tmp_path / "run" / "model_final.pth")
    notes = {row["dataset"]: row.get("notes") for row in again}
    assert notes["source_a"] == NOTES["source_a"][1:], "a checkpoint knows the people, not the pictures"


def test_check_says_the_same_of_one_set_and_of_what_two_share(leaky, tmp_path):
    cfg = build(leaky, tmp_path / "run", {})
    entries = [{"NAME": "folder", "PATH": name} for name in ("source_a", "source_b", "target")]
    one, two, three = check.check(cfg, entries, decode=False)
    assert [report.state for report in (one, two, three)] == ["whole"] * 3
    assert all(f"note: {line}" in str(one) for line in NOTES["source_a"])
    assert "note: " not in str(two)
    assert "note: target: 1 of 147 pictures are in source_b too, the first target/" in str(three)


def test_one_picture_of_two_people_ends_a_run_before_its_folder(tiny_world, tmp_path):
    shutil.copytree(tiny_world, tmp_path / "world")
    place = tmp_path / "world" / "source_a"
    names = sorted(path.name for path in (place / "bounding_box_train").iterdir())
    rows = [f"bounding_box_train/{name},{name[:4]},{name[6]},train" for name in [*names, names[0]]]
    (place / "list.csv").write_text("\n".join(["path,pid,camid,split", *rows]).replace(",0001,1,", ",0009,1,", 1))
    with pytest.raises(ValueError, match=r"list\.csv, line 82: found bounding_box_train/\S+ as 0009 and as 0001"):
        runs.train(build(tmp_path / "world", tmp_path / "run", {"LOSSES": "[softmax]"}))
    assert not (tmp_path / "run").exists()
