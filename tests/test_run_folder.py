"""The folder of a run: whose it is, what it holds, and its line files."""

import pytest

from reid.evaluation import report
from reid.run_folder import RunFolder


def test_parts_of_a_run_without_its_config_are_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with RunFolder(tmp_path) as run:
        assert not run.holds_run
    (tmp_path / "model_last.pth").touch()
    with pytest.raises(ValueError, match=r"holds model_last\.pth and no config\.yaml"), RunFolder(tmp_path):
        pass


def test_nobody_else_writes_into_a_run(tmp_path):
    with RunFolder(tmp_path / "run") as run:
        run.open("SEED: 0\n")
        with pytest.raises(ValueError, match=r"process \d+ on .* writes there; wait for its end"), RunFolder(run.path):
            pass
    with RunFolder(tmp_path / "run") as again:
        again.open("SEED: 0\n")


def test_of_two_that_begin_at_once_one_is_refused(tmp_path):
    with RunFolder(tmp_path / "run") as one, RunFolder(tmp_path / "run") as other:
        one.open("SEED: 0\n")
        with pytest.raises(ValueError, match="writes there"):
            other.open("SEED: 1\n")
    with RunFolder(tmp_path / "new") as late:
        with RunFolder(tmp_path / "new") as early:
            early.open("SEED: 0\n")
        with pytest.raises(ValueError, match="another run has just begun there"):
            late.open("SEED: 1\n")
    assert (tmp_path / "new" / "config.yaml").read_text() == "SEED: 0\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"OUTPUT_DIR .*file/run cannot be written"),
        RunFolder(tmp_path / "file" / "run") as run,
    ):
        run.open("SEED: 0\n")


def test_opening_removes_what_killed_writes_left(tmp_path):
    (tmp_path / "embeddings").mkdir()
    left = [tmp_path / ".model_last.pth.1.tmp", tmp_path / "embeddings" / ".a.npy.1.tmp"]
    for path in left:
        path.touch()
    with RunFolder(tmp_path) as run:
        run.open("SEED: 0\n")
    assert not any(path.exists() for path in left)


def test_line_files_are_cut_back_to_whole_lines(tmp_path):
    with RunFolder(tmp_path) as run:
        run.open("SEED: 0\n")
        run.append("a.jsonl", [{"x": 1}])
        lengths = run.lengths()
        run.append("a.jsonl", [{"x": 2}])
        assert run.shorter(lengths) == []
        run.cut(lengths)
        assert report.lines(run / "a.jsonl") == [{"x": 1}]
        (run / "a.jsonl").write_text('{"x": 1}\n{"x')
        longer = {"a.jsonl": 50}
        assert run.shorter(longer) == ["a.jsonl"]
        run.cut(longer)
        assert report.lines(run / "a.jsonl") == [{"x": 1}]
