"""Loggers are told of each logged step and of the end, whatever it is; a wrong one is refused before there is a folder."""

import json
import re
import sys
import types
from pathlib import Path

import pytest
import tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reid.builder import runs

MINE = """
from reid.loggers import Logger

told = []

class Mine(Logger):
    def __init__(self, folder, step, config, word: str = "a"):
        told.append((folder.name, step, "SEED: 0" in config, word))
    def note(self, row):
        told.append(row)
        if len(told) == self.stops_at:
            raise ValueError("no room")
    def finish(self):
        told.append("end")
    stops_at = 0

class Other:
    pass
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "ownlog.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("ownlog")
    sys.modules.pop("ownlog")


def train(tiny_world, folder, loggers, **options):
    overrides = {"LOSSES": "[softmax]", "SOLVER.MAX_STEPS": "4", "SOLVER.LOG_STEPS": "2", "LOGGERS": loggers}
    return runs.train(tiny_run.build(tiny_world, folder, overrides), **options)


def test_both_are_told_what_metrics_say(tiny_world, tmp_path, package):
    train(tiny_world, tmp_path / "run", "[tensorboard, {NAME: 'ownlog:Mine', WORD: b}]")
    lines = list(map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()))
    made, *rows, end = package.told
    assert made == ("run", 0, True, "b")
    assert end == "end"
    assert [{k: v for k, v in row.items() if not k.endswith("_s")} for row in rows] == lines
    assert all(row["step_s"] > 0 and row["data_s"] >= 0 for row in rows)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert {f"train/{name}" for name in rows[0]} - set(events.Tags()["scalars"]) == {"train/step", "train/epoch"}
    shown = [(event.step, event.value) for event in events.Scalars("train/softmax")]
    assert shown == [(line["step"], pytest.approx(line["softmax"], rel=1e-6)) for line in lines]


def test_none_writes_nothing_but_metrics(tiny_world, tmp_path):
    train(tiny_world, tmp_path / "run", "[]")
    assert list((tmp_path / "run").glob("events*")) == []
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


def test_end_is_told_after_an_error_and_the_step_to_one_that_goes_on(tiny_world, tmp_path, package, monkeypatch):
    monkeypatch.setattr(package.Mine, "stops_at", 3)
    with pytest.raises(ValueError, match="no room"):
        train(tiny_world, tmp_path / "run", "['ownlog:Mine']")
    assert package.told[-1] == "end"
    package.told.clear()
    monkeypatch.setattr(package.Mine, "stops_at", 0)
    train(tiny_world, tmp_path / "run", "['ownlog:Mine']", resume=True)
    assert package.told[0] == ("run", 0, True, "a")  # it ended before its first checkpoint
    assert package.told[-1] == "end"


@pytest.mark.parametrize(
    ("loggers", "message"),
    [
        ("[tensorbord]", r"loggers: no tensorbord; did you mean tensorboard\?"),
        ("['ownlog:Other']", "loggers: ownlog:Other is the class Other; expected a subclass of Logger"),
        ("[{NAME: tensorboard, FOLDER: x}]", "no option FOLDER"),
        ("[3]", "LOGGERS.*the entry 3"),
    ],
)
def test_wrong_one_is_refused_before_there_is_a_folder(tiny_world, tmp_path, package, loggers, message):
    with pytest.raises(ValueError, match=message):
        train(tiny_world, tmp_path / "run", loggers)
    assert not (tmp_path / "run").exists()


def test_logger_on_the_page_is_told_by_a_run(tiny_world, tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "library.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n# mypackage/loggers.py\n(.*?)```", page, re.DOTALL)
    told = []
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **about: (
        told.append(about)
        or types.SimpleNamespace(
            log=lambda row, step: told.append((step, row["loss"])), finish=lambda: told.append("end")
        )
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (tmp_path / "pagelog.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    train(tiny_world, tmp_path / "run", "[{NAME: 'pagelog:Wandb', PROJECT: mine}]")
    sys.modules.pop("pagelog")
    about, *rows, end = told
    assert (about["project"], about["id"], about["config"]["SEED"], end) == ("mine", "run", 0, "end")
    assert [step for step, _ in rows] == [2, 4]
