"""A run that ended while it was scored goes on with the scoring; what decides rows alone may be another then."""

import pytest
import tiny_run
import torch

from reid import checkpoint, trainer
from reid.builder import runs, scoring, study

SOURCE_VAL = {"TEST.SELECT": "source_val", "TEST.HOLD_OUT": "0.3"}


@pytest.fixture
def cfg(tiny_world, tmp_path):
    def make(folder="run", **overrides):
        overrides = {key.replace("__", "."): value for key, value in overrides.items()}
        return tiny_run.build(
            tiny_world, tmp_path / folder, {"LOSSES": "[softmax]", "SOLVER.MAX_STEPS": "12", **overrides}
        )

    return make


@pytest.fixture
def falls(monkeypatch):
    """falls(n): the n-th scoring of data sets from now on ends as one that memory is too small for."""

    def arm(number):
        real, calls = scoring.evaluate, iter(range(1, 100))

        def evaluate(*args, **options):
            if next(calls) == number:
                raise MemoryError
            return real(*args, **options)

        monkeypatch.setattr(scoring, "evaluate", evaluate)

    return arm


def assert_equal_runs(one, other):
    for name in ("model_last.pth", "model_final.pth"):
        a, b = (checkpoint.load(folder / name) for folder in (one, other))
        assert all(torch.equal(v, b["model"][k]) for k, v in a["model"].items() if isinstance(v, torch.Tensor))
        assert a["progress"] == b["progress"]
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (one / name).read_text() == (other / name).read_text(), name


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("select", ["last", "source_val", "oracle"])
def test_a_scoring_that_failed_is_the_first_thing_when_the_run_goes_on(
    cfg, tmp_path, falls, monkeypatch, select, number
):
    """Number 2 is the second epoch's."""
    options = {"TEST.EVERY": "1", "TEST.SELECT": select, "TEST.HOLD_OUT": "0.3", "MEMORY.SIZE": "0"}
    runs.train(cfg("whole", **options))
    falls(number)
    with pytest.raises(MemoryError):
        runs.train(cfg(**options))
    last = checkpoint.load(tmp_path / "run" / "model_last.pth")
    assert (last["scored"], last["progress"]["epoch"]) == (False, number)
    monkeypatch.undo()
    runs.train(cfg(**options), resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("select", ["source_val", "oracle"])
def test_a_run_is_finished_when_its_choice_is_scored(cfg, tmp_path, falls, monkeypatch, select):
    options = {**SOURCE_VAL, "TEST.SELECT": select}
    runs.train(cfg("whole", **options))
    falls(2)  # the targets, with the chosen weights
    with pytest.raises(MemoryError):
        runs.train(cfg(**options))
    job = study.Job("row", 0, tmp_path / "run", (), "model_final.pth", trains=True)
    assert not job.finished
    monkeypatch.undo()
    runs.train(cfg(**options), resume=True)
    assert job.finished
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


def test_what_failed_on_one_target_goes_on_with_another(cfg, tmp_path, falls, monkeypatch):
    runs.train(cfg("whole"))
    falls(1)
    with pytest.raises(MemoryError):
        runs.train(cfg())
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"TEST\.EVERY was 0, is 1"):
        runs.train(cfg(TEST__EVERY="1"), resume=True)
    other = {"DATASETS.TARGETS": "[{NAME: folder, PATH: source_a}]", "TEST.FLIP": "True", "TEST.RERANK": "True"}
    rows = runs.train(cfg(**other), resume=True)
    assert {row["dataset"] for row in rows} == {"source_a", "mean"}
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "TEST.FLIP was False, is True, which decides rows and no weights" in log
    assert runs.score(None, tmp_path / "run" / "model_final.pth") == rows
    one, two = (checkpoint.load(tmp_path / name / "model_final.pth")["model"] for name in ("whole", "run"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    with pytest.raises(ValueError, match=r"DATASETS\.TARGETS was"):  # it is finished, and its config says with what
        runs.train(cfg(), resume=True)


def test_flips_may_change_only_after_the_last_step_and_targets_not_where_they_choose(cfg, falls, monkeypatch):
    for options, change in (
        ({"TEST.EVERY": "1"}, {"TEST.FLIP": "True"}),
        ({"TEST.SELECT": "oracle"}, {"TEST.CAMERA_RULE": "False"}),
    ):
        options["OUTPUT_DIR"] = cfg().OUTPUT_DIR + options.get("TEST.SELECT", "")
        falls(1)
        with pytest.raises(MemoryError):
            runs.train(cfg(**options))
        monkeypatch.undo()
        with pytest.raises(ValueError, match=f"{next(iter(change))} was"):
            runs.train(cfg(**{**options, **change}), resume=True)


def test_a_finished_run_is_left_as_it_is(cfg, tmp_path, monkeypatch):
    rows = runs.train(cfg())
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"}
    monkeypatch.setattr(trainer.Trainer, "train", None)
    assert runs.train(cfg(), resume=True) == rows
    assert before == {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"
    }


@pytest.mark.parametrize("select", ["last", "source_val"])
def test_results_that_were_emptied_are_written_again(cfg, tmp_path, select):
    options = {**SOURCE_VAL, "TEST.SELECT": select}
    rows, path = runs.train(cfg(**options)), tmp_path / "run" / "results.jsonl"
    whole = path.read_text()
    job = study.Job("row", 0, tmp_path / "run", (), "model_final.pth", trains=True)
    for emptied in ("", whole[: len(whole) // 2]):
        path.write_text(emptied)
        assert job.finished == bool(emptied)
        assert runs.train(cfg(**options), resume=True) == rows
        assert path.read_text().endswith(whole)
    path.unlink()
    assert not job.finished
    assert runs.train(cfg(**options), resume=True) == rows
    assert path.read_text() == whole


def test_folders_of_others_are_no_run_to_go_on_with(cfg, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("model: {type: other}\n")
    with pytest.raises(ValueError, match=r"config\.yaml is of no run of ours .*use another OUTPUT_DIR"):
        runs.train(cfg(), resume=True)
    runs.train(cfg("mine"))
    (tmp_path / "mine" / "config.yaml").unlink()
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"mine holds environment\.txt, log\.txt, .* and no config\.yaml"):
            runs.train(cfg("mine"), resume=resume)
    runs.train(cfg("again"))
    with pytest.raises(ValueError, match="holds a training run"):
        runs.score(None, tmp_path / "again" / "model_final.pth", output=tmp_path / "again")
