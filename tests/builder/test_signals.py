"""Runs that are told to end, and whose loading processes are killed or have no room, from outside as users and systems do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_run

from reid import checkpoint, config

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PICTURES = {"DATALOADER.WORKERS": "2", "LOSSES": "[softmax]", "SOLVER.EPOCHS": "500", "SOLVER.SCHEDULE": "constant"}


def apart() -> None:
    """In the new process: a group of its own, and signals as in a shell, whatever these tests were started by."""
    os.setpgrp()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def start(tiny_world, tmp_path):
    """start(code, *words, KEY=value): a run in a process group of its own, `code` before it; its words are those of `reid train`."""
    started = []

    def begin(code="", *words, **overrides):
        overrides = {key.replace("__", "."): value for key, value in overrides.items()}
        cfg = tiny_run.build(tiny_world, tmp_path / "run", {**PICTURES, **overrides})
        (tmp_path / "own.yaml").write_text(config.dump(cfg))
        program = f"{code}\nfrom reid.commands import main; main()"
        command = [sys.executable, "-c", program, "train", "--config", str(tmp_path / "own.yaml"), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, preexec_fn=apart, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(path: Path, lines: int, process: subprocess.Popen) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def said(process: subprocess.Popen) -> list[str]:
    """The lines of stderr that are not of the log."""
    _, told = process.communicate(timeout=300)
    assert "Traceback" not in told, told
    return [line for line in told.splitlines() if line.startswith(("stopped: ", "error: "))]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_to_the_group_is_answered_once_by_who_trains(start, tmp_path, name):
    process, number = start(), getattr(signal, name)
    wait_for(tmp_path / "run" / "metrics.jsonl", 5, process)
    os.killpg(process.pid, number)
    (line,) = said(process)
    assert process.returncode == 128 + number
    step = checkpoint.load(tmp_path / "run" / "model_last.pth")["progress"]["step"]
    assert line == f"stopped: {name} at step {step}: saved; go on with --resume"
    assert step % 10, "in the middle of an epoch"


def test_what_nohup_ignores_stays_ignored(start, tmp_path):
    process = start("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)", SOLVER__EPOCHS="3")
    wait_for(tmp_path / "run" / "metrics.jsonl", 5, process)
    os.killpg(process.pid, signal.SIGHUP)
    assert said(process) == []
    assert process.returncode == 0


SLOW = "import pathlib, time, sys; from reid import {module}\nreal = {module}.{name}\ndef slow(*a, **o):\n    print('there', flush=True); time.sleep(60)\n    return real(*a, **o)\n{module}.{name} = slow"


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("builder.objects", "datasets", "stopped: SIGINT"),
        ("builder.scoring", "evaluate", "stopped: SIGINT at step 10: saved; go on with --resume"),
        ("builder.resuming", "finish", "stopped: SIGINT at step 10: saved; go on with --resume"),
    ],
)
def test_ctrl_c_before_between_and_after_training_is_one_line(start, module, name, told):
    package, _, file = module.partition(".")
    code = SLOW.replace("from reid import {module}", f"from reid.{package} import {file}").format(
        module=file, name=name
    )
    process = start(code, SOLVER__EPOCHS="1")
    assert process.stdout.readline() == "there\n"
    os.killpg(process.pid, signal.SIGINT)
    assert said(process) == [told]
    assert process.returncode == 130


def test_a_loading_process_killed_for_memory_is_called_that(start, tmp_path):
    process = start()
    wait_for(tmp_path / "run" / "metrics.jsonl", 5, process)
    (tasks,) = Path(f"/proc/{process.pid}/task/{process.pid}").glob("children")
    os.kill(int(tasks.read_text().split()[0]), signal.SIGKILL)
    (line,) = said(process)
    assert process.returncode == 2
    assert line.startswith("error: a process that loads pictures (pid ")
    assert "killed by signal: Killed, as systems do where memory runs out; lower DATALOADER.WORKERS" in line


FULL = (
    "import shutil; from types import SimpleNamespace; shutil.disk_usage = lambda path: SimpleNamespace(free=100_000)"
)


def test_too_little_shared_memory_is_refused_with_its_bytes(start, tmp_path):
    (line,) = said(start(FULL))
    assert line.startswith(
        "error: /dev/shm has 100,000 bytes free, and loading by DATALOADER.WORKERS 2 may need 122,880; "
    )
    assert "lower DATALOADER.WORKERS" in line
    assert not (tmp_path / "run").exists()


def test_shared_memory_that_others_fill_meanwhile_is_one_line_too(start):
    code = (
        "import torch\ndef full(self):\n    raise RuntimeError('unable to allocate')\ntorch.Tensor.share_memory_ = full"
    )
    (line,) = said(start(code))
    assert line.startswith(
        "error: a batch of 24,576 bytes has no room in /dev/shm (unable to allocate); lower DATALOADER.WORKERS"
    )
