"""A short run of the tiny world with its export: the model that the tests of the commands use."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
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


@pytest.fixture(scope="session")
def lite(tmp_path_factory):
    """The address of a Milvus Lite in a process of its own, which ends with the tests."""
    python = os.environ.get("REID_TEST_MILVUS", "")
    if not python or importlib.util.find_spec("pymilvus") is None:
        pytest.skip("needs pymilvus here, and REID_TEST_MILVUS: the python of a venv with milvus-lite")
    folder = tmp_path_factory.mktemp("lite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        python,
        "-m",
        "milvus_lite",
        "server",
        "--data-dir",
        folder / "data",
        "--host",
        "127.0.0.1",
        "--port",
        port,
    ]
    with (folder / "log").open("w") as log:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, env=environment)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
