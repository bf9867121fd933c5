"""A short run of the tiny world with its export: the model that the tests of the commands use."""

import sys
from pathlib import Path

import milvus_stand_in
import pytest
from tiny_run import build

from reid import commands
from reid.builder import exports, runs


@pytest.fixture(scope="session")
def trained(tiny_world, tmp_path_factory) -> Path:
    """The run's folder, with model_final.pth and `export`."""
    folder = tmp_path_factory.mktemp("vectors") / "run"
    runs.train(build(tiny_world, folder, {"LOSSES": "[softmax]", "SOLVER.MAX_STEPS": "5"}))
    exports.export(folder / "model_final.pth", folder / "export")
    return folder


@pytest.fixture
def call(capsys):
    """call("embed", ...) runs that command and returns what it printed."""

    def run(*words) -> str:
        capsys.readouterr()
        commands.main(list(map(str, words)))
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys):
    """refused("embed", ...) is the one line that the command ends with."""

    def run(*words) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            commands.main(list(map(str, words)))
        assert end.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        return line

    return run


@pytest.fixture
def stand_in(monkeypatch):
    """The stand-in as pymilvus, empty."""
    monkeypatch.setitem(sys.modules, "pymilvus", milvus_stand_in)
    monkeypatch.setattr(milvus_stand_in.MilvusClient, "worlds", {})
    return milvus_stand_in.MilvusClient
