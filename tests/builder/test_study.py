"""A study runs what is missing and nothing twice, and says what is wrong before anything runs."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import tiny_run

from reid import errors, trainer
from reid.builder import recipes, registry, study
from reid.evaluation import tables
from reid.run_folder import RunFolder

STUDY = {
    "SEEDS": [0],
    "CONFIG": "recipe.yaml",
    "SET": {"LOSSES": [{"NAME": "softmax"}]},
    "ROWS": {"plain": None, "with triplet": {"SET": {"LOSSES": ["softmax", "triplet"]}}, "mirrored": {"OF": "plain"}},
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes a study beside its recipe, in a folder of its own to run in."""
    monkeypatch.chdir(tmp_path)
    return tiny_run.study_writer(tmp_path, STUDY)


def test_rows_are_trained_scored_and_tabled(written, tiny_world):
    rows = {"plain": None, "mirrored": {"OF": "plain", "SET": {"TEST.FLIP": True}}}
    jobs = study.load(written(ROWS=rows), ["DATASETS.ROOT", str(tiny_world), "DEVICE", "cpu"])
    assert study.run(jobs) == []
    assert all(job.finished for job in jobs)
    assert not list(jobs[1].folder.rglob("*embeddings*"))
    rows = [run.rows[0] for job in jobs for run in recipes.read([job.folder])[0].runs]
    assert [row["step"] for row in rows] == [2, 2]
    with pytest.raises(ValueError, match="2 protocols"):  # the mirror is part of the protocol
        tables.table(recipes.read([job.folder for job in jobs]))


def test_only_what_is_missing_runs_and_scoring_comes_last(written, monkeypatch):
    jobs = study.load(written(SEEDS=[0, 1]))
    assert [(job.row, job.seed) for job in jobs][:3] == [("plain", 0), ("plain", 1), ("with triplet", 0)]
    for job, name in ((jobs[1], "model_final.pth"), (jobs[1], "results.jsonl"), (jobs[2], "results.jsonl")):
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / name).write_text("{}\n")  # the latter of scorings on the way
    ran = []

    def fake(job, *_):
        job.folder.mkdir(parents=True, exist_ok=True)
        for name in (job.done, "results.jsonl"):
            (job.folder / name).write_text("{}\n")
        ran.append((job.row, job.seed))

    monkeypatch.setattr(study, "_run", fake)
    assert study.run(jobs, side_by_side=1) == []
    assert ran == [("plain", 0), ("with triplet", 0), ("with triplet", 1), ("mirrored", 0), ("mirrored", 1)]


def test_a_failure_is_named_and_the_others_go_on(written, monkeypatch):
    jobs = study.load(written())
    monkeypatch.setattr(study, "REID", "import sys; print('a warning', file=sys.stderr); sys.exit('error: no room')")
    failures = study.run(jobs)
    assert [*map(str, failures)] == [f"{row}, seed 0: error: no room" for row in ("plain", "with triplet", "mirrored")]


def test_a_run_that_another_process_has_in_hand_comes_last_and_is_not_run_twice(written, monkeypatch):
    jobs = study.load(written(ROWS={"a": None, "b": None, "c": None}))
    ran = []

    def fake(job, *_):
        ran.append(job.row)
        if ran == ["a"]:
            return study.Failure(job, "error: process 1 on x writes there", errors.OCCUPIED)
        if job.row == "b":
            return study.Failure(job, "error: no room", 2)
        return None

    monkeypatch.setattr(study, "_run", fake)
    monkeypatch.setattr(study, "POLL", 0)
    assert [*map(str, study.run(jobs, side_by_side=1))] == ["b, seed 0: error: no room"]
    assert ran == ["a", "b", "c", "a"]


def test_a_run_ends_with_the_study_that_began_it_however_that_ended(tmp_path):
    mark = tmp_path / "mark"
    code = f"from reid import errors; import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(pathlib.Path({str(mark)!r}).write_text('ended'))); errors.end_with_stdin(); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert process.poll() is None
    process.stdin.close()
    process.wait(30)
    process.stdout.close()
    assert mark.read_text() == "ended"


def test_status_says_what_is_at_fault(tmp_path):
    with pytest.raises(errors.OptionsRefused) as refused:
        registry.make("losses", {"NAME": "triplet", "MINING": "random"})
    assert errors.status(refused.value) == errors.status(trainer.NonFiniteLoss("loss is nan")) == errors.OF_OPTIONS
    with RunFolder(tmp_path) as run:
        run.open("SEED: 0")
        with pytest.raises(errors.Occupied) as occupied, RunFolder(tmp_path):
            pass
    assert errors.status(occupied.value) == errors.OCCUPIED
    (tmp_path / "x").mkdir()
    with pytest.raises(ValueError, match="found no pictures") as empty:
        registry.make("data/datasets", {"NAME": "folder", "PATH": "x"}, root=str(tmp_path), check_counts=True)
    assert {errors.status(error) for error in (empty.value, ValueError(), OSError())} == {2}


def test_told_to_end_it_tells_its_runs_and_begins_no_more(written, monkeypatch):
    code = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    monkeypatch.setattr(study, "REID", code)
    begun = []
    real = study._run
    monkeypatch.setattr(study, "_run", lambda job, *args: begun.append(job.row) or real(job, *args))
    with pytest.raises(errors.InterruptedRun), errors.signals:
        study.run(study.load(written()), side_by_side=1)
    assert begun == ["plain"]


def test_told_to_end_while_runs_are_still_queued_it_begins_none_of_them(written, monkeypatch):
    begins, told = threading.Event(), threading.Event()
    begun = []
    submit = ThreadPoolExecutor.submit

    def run(job, threads, running):
        begun.append(job.row)
        running.append(SimpleNamespace(terminate=told.set))
        begins.set()
        told.wait(30)

    def interrupted(pool, function, job):
        if job.seed == 1:
            begins.wait(30)
            raise errors.InterruptedRun(signal.SIGTERM)
        return submit(pool, function, job)

    monkeypatch.setattr(study, "_run", run)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    jobs = sorted(study.load(written(SEEDS=[0, 1])), key=lambda job: job.seed)
    with pytest.raises(errors.InterruptedRun):
        study.run(jobs, side_by_side=1)
    assert begun == ["plain"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SEED": [0]}, "no key SEED; did you mean SEEDS"),
        ({"ROWS": {"a": {"WEIGHT": 1}}}, "row a: no key WEIGHT"),
        ({"ROWS": {"a": None, "b": {"OF": "c"}}}, "row b scores c, which trains nothing; there are a"),
        ({"ROWS": {"a": None, "b": {"OF": "c\nd"}}}, r"row b scores c\\nd, which trains nothing"),
        ({"ROWS": {"a": {"SET": {"SOLVER.LRR": 1}}}}, "no key SOLVER.LRR"),
        ({"ROWS": [1]}, r"it\.yaml: ROWS is of type list, expected dict"),
        ({"ROWS": {"a": 3}}, "row a: it is of type int, expected dict"),
        ({"ROWS": {"a": {"SET": None}}}, "row a: SET is of type NoneType, expected dict"),
        ({"ROWS": {"a": {"SET": {3: 1}}}}, "row a: a key of SET is of type int, expected str"),
        ({"ROWS": {"a": {"OF": ["b"]}}}, "row a: OF is of type list, expected str"),
        ({"CONFIG": ["recipe.yaml"]}, "CONFIG is of type list, expected str"),
    ],
)
def test_mistakes_are_found_before_anything_runs(written, changes, message):
    with pytest.raises(ValueError, match=message):
        study.load(written(**changes))


@pytest.mark.parametrize("name", ["../../escaped", "/elsewhere", "..", ".", "", "a/b", 3, "a\0b"])
def test_row_whose_folder_would_lie_elsewhere_is_refused(written, name):
    with pytest.raises(ValueError, match=r"found the row .*; expected a text that can name a folder"):
        study.load(written(ROWS={name: None}))


@pytest.mark.parametrize("seeds", [3, ["../x"], [0.5], [True], None])
def test_seeds_are_whole_numbers(written, seeds):
    with pytest.raises(ValueError, match=r"it\.yaml: SEEDS(\.0)? is of type .*, expected (int|list)"):
        study.load(written(SEEDS=seeds))
