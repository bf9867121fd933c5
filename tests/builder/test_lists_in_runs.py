"""What a list says wrongly is in the log and in every row of results; what it cannot mean ends the run before its folder."""

import shutil
from pathlib import Path

import pytest
from tiny_run import build

from reid import checkpoint
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


def test_a_checkpoint_knows_the_people_and_pictures_that_it_was_trained_on(leaky, tmp_path):
    runs.train(build(leaky, tmp_path / "run", {**TARGETS, "SOLVER.MAX_STEPS": "2"}))
    for name in ("source_a", "source_b"):  # none of which needs to be on the disk
        shutil.rmtree(leaky / name / "bounding_box_train")
    path = tmp_path / "run" / "model_final.pth"
    rows = runs.score(None, path)
    line = "{0}: 1 of 67 pictures are trained on by their sizes and last bytes, the first {1}_c1s1_000009_00.jpg"
    notes = {row["dataset"]: row["notes"] for row in rows if row["kind"] == "dataset"}
    assert notes == {
        "target": [line.format("target", "0012")],
        "source_a": [line.format("source_a", "0001"), NOTES["source_a"][1]],
    }
    older = {key: value for key, value in checkpoint.load(path).items() if key != "pictures"}
    checkpoint.save(path, older)
    rows = runs.score(None, path, output=tmp_path / "older")
    assert [row.get("notes") for row in rows if row["kind"] == "dataset"] == [None, NOTES["source_a"][1:]]
    assert (
        "does not know the pictures of its training: they are not compared"
        in (tmp_path / "older" / "log.txt").read_text()
    )


def test_check_says_the_same_of_one_set_and_of_what_two_share(leaky, tmp_path):
    cfg = build(leaky, tmp_path / "run", {})
    entries = [{"NAME": "folder", "PATH": name} for name in ("source_a", "source_b", "target")]
    one, two, three = check.check(cfg, entries, decode=False)
    assert [report.state for report in (one, two, three)] == ["whole"] * 3
    assert all(f"note: {line}" in str(one) for line in NOTES["source_a"])
    assert "note: " not in str(two)
    assert "note: target: 1 of 147 pictures are in source_b too, the first target/" in str(three)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_pictures_with_a_hole_are_named_once_by_the_run_that_reads_them(tiny_world, tmp_path, workers, capfd):
    root = tmp_path / "world"
    shutil.copytree(tiny_world, root)
    trained, searched = (root / "source_a" / "bounding_box_train", root / "target" / "query")
    holes = [next(iter(sorted(place.glob("*.jpg")))) for place in (trained, searched)]
    for path in holes:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes(len(data) - 2 - len(data) // 2) + data[-2:])
    words = {"LOSSES": "[softmax]", "SOLVER.EPOCHS": "3", "TEST.EVERY": "1", "DATALOADER.WORKERS": workers}
    runs.train(build(root, tmp_path / "run", words))
    told = [line for line in (tmp_path / "run" / "log.txt").read_text().splitlines() if "decodes with damage" in line]
    assert sorted(line.partition("] ")[2].partition(" (Corrupt JPEG data: ")[0] for line in told) == sorted(
        f"{path}: decodes with damage" for path in holes
    )
    assert capfd.readouterr().err.count("Corrupt JPEG") == len(holes), "and by nothing else"


def test_one_picture_of_two_people_ends_a_run_before_its_folder(tiny_world, tmp_path):
    shutil.copytree(tiny_world, tmp_path / "world")
    place = tmp_path / "world" / "source_a"
    names = sorted(path.name for path in (place / "bounding_box_train").iterdir())
    rows = [f"bounding_box_train/{name},{name[:4]},{name[6]},train" for name in [*names, names[0]]]
    (place / "list.csv").write_text("\n".join(["path,pid,camid,split", *rows]).replace(",0001,1,", ",0009,1,", 1))
    with pytest.raises(ValueError, match=r"list\.csv, line 82: found bounding_box_train/\S+ as 0009 and as 0001"):
        runs.train(build(tmp_path / "world", tmp_path / "run", {"LOSSES": "[softmax]"}))
    assert not (tmp_path / "run").exists()
