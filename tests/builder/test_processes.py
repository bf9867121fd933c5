"""Two training processes on the CPU: one run folder, equal weights and memories, the same scores, one end for both."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reid import checkpoint, errors
from reid.builder import runs
from reid.config import load

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, signal, sys
import torch
from torch import distributed
from reid import config, errors, optim, runtime, trainer
from reid.builder import objects, runs
from reid.data import loader
from reid.methods.baseline import Baseline

fault, rank, count = sys.argv[1], int(os.environ["RANK"]), iter(range(10**6))
Trainer = trainer.Trainer
real_train, real_method, real_read, real_set_lr = Trainer.train, objects.method, loader.read_image, optim.set_lr

def method(*args, **options):
    made = real_method(*args, **options)
    if rank == 1:  # as if it had been made otherwise
        for value in (*made.parameters(), *made.buffers()):
            value.data = value.data.logical_not() if value.dtype == torch.bool else value.data + 1
    return made

def train(self, **options):
    real_train(self, **options)
    method = self.method
    for name, value in method.state_dict().items():
        if isinstance(value, torch.Tensor):
            both = [torch.empty_like(value).contiguous() for _ in range(2)]
            distributed.all_gather(both, value.contiguous())
            assert torch.equal(*both), name
    if getattr(method, "queues", None):
        assert method.queues["before"].filled == 40
    print("equal")

def nan(self, batch):
    for phase in real_phases(self, batch):
        phase.losses = {name: loss * (float("nan") if batch.step == 4 else 1) for name, loss in phase.losses.items()}
        yield phase

def read_image(path, *more):
    if next(count) == 40:
        raise ValueError(f"{path}: found a picture that fell apart")
    return real_read(path, *more)

def set_lr(*args):
    step = next(count)
    if fault == "signal" and step == 6:
        os.kill(os.getpid(), signal.SIGTERM)
    if fault == "kill" and step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return real_set_lr(*args)

def full(*args):
    raise OSError(28, "No space left on device")

Trainer.train, objects.method = train, method
if fault == "nan" and rank == 1:
    real_phases, Baseline.phases = Baseline.phases, nan
if fault == "picture" and rank == 1:
    loader.read_image = read_image
if fault in ("signal", "kill") and rank == 1:
    optim.set_lr = set_lr
if fault == "disk":
    trainer.State.save_last = lambda self, save=trainer.State.save_last: setattr(os, "fsync", full) or save(self)
with errors.in_one_line():
    runs.train(config.load(sys.argv[2]), resume=fault == "resume")
"""


METHODS = {
    "baseline": "LOSSES: [softmax, triplet]\nMEMORY: {SIZE: 40}",
    "key encoder": "LOSSES: [softmax, triplet]\nMEMORY: {SIZE: 40, MOMENTUM: 0.5}",
    "dimn": "METHOD: {NAME: dimn, BANK_INIT: class_means}\nSAMPLER: {NAME: episode}\nLOSSES: [softmax, triplet]\nMEMORY: {SIZE: 40}",
    "ecn": "METHOD: {NAME: ecn}",
    "bau": "METHOD: {NAME: bau}\nLOSSES: [softmax]\nINPUT: {SIZE: [32, 16], VIEWS: {strong: [flip, jitter]}}",
    "m3l": "METHOD: {NAME: m3l}\nSAMPLER: {NAME: meta, NUM_INSTANCES: 2}\nLOSSES: [triplet]",
    "metabin": "METHOD: {NAME: metabin}\nSAMPLER: {NAME: base_and_meta, NUM_INSTANCES: 2, LENGTH: 10}\nLOSSES: [softmax]\n"
    "DATALOADER: {BATCH_SIZE: 24, WORKERS: 0}\nMODEL: {BACKBONE: {NAME: tiny}, NORM: [bin]}",
}
UNLESS_SAID = {
    "INPUT": "{SIZE: [32, 16], AUGMENT: [flip, {NAME: crop, PAD: 2}]}",
    "DATALOADER": "{BATCH_SIZE: 16, WORKERS: 0}",
    "MODEL": "{BACKBONE: {NAME: tiny}}",
}
pytestmark = pytest.mark.slow


@pytest.fixture
def prepare(tiny_world, tmp_path):
    """prepare(folder, text) -> the config of a run into that folder."""
    (tmp_path / "script.py").write_text(SCRIPT)

    def write(folder: str, text: str) -> Path:
        path = tmp_path / f"{folder}.yaml"
        more = "\n".join(f"{key}: {block}" for key, block in UNLESS_SAID.items() if f"{key}:" not in text)
        path.write_text(
            f"""
DATASETS:
  ROOT: {tiny_world}
  SOURCES: [{{NAME: folder, PATH: source_a}}, {{NAME: folder, PATH: source_b}}]
  TARGETS: [{{NAME: folder, PATH: target}}]
{more}
{text}
SOLVER: {{EPOCHS: 2, LOG_STEPS: 1}}
OUTPUT_DIR: {tmp_path / folder}
DEVICE: cpu
"""
        )
        return path

    return write


def two(config: Path, fault: str = "") -> list[tuple[int, str, str]]:
    """Exit status, stdout and stderr of two processes, started as torchrun would, but without its hand over them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    words = [sys.executable, str(config.with_name("script.py")), fault, str(config)]
    started = [
        subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    return [(process.returncode, *told) for process in started for told in [process.communicate(timeout=240)]]


def same_figures(rows: list[dict], others: list[dict], within: float) -> None:
    """Pictures are embedded in batches of another size, so that last digits may differ."""
    for row, other in zip(rows, others, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert other[name] == (pytest.approx(value, abs=within) if isinstance(value, float) else value), name


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_keep_equal_weights_and_memories(prepare, tmp_path, method):
    for status, out, told in two(prepare("run", METHODS[method])):
        assert status == 0, told[-3000:]
        assert out.count("equal") == 1
    assert [row["step"] for row in lines(tmp_path / "run" / "metrics.jsonl")] == list(range(1, 21))
    rows = lines(tmp_path / "run" / "results.jsonl")
    assert [row["kind"] for row in rows] == ["trial", "dataset", "mean"]
    assert {row["processes"] for row in rows} == {2}
    same_figures(rows, runs.score(None, tmp_path / "run" / "model_final.pth"), within=1e-6)


def test_torchrun_starts_them(prepare, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*torchrun, "tools/train_net.py", "--config", str(prepare("run", METHODS["baseline"]))]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 20


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "step 4: softmax is nan, triplet is nan"),
        ("picture", "found a picture that fell apart"),
        ("disk", "model_last.pth could not be written (No space left on device)"),
    ],
)
def test_one_that_cannot_go_on_ends_both_with_its_message(prepare, fault, message):
    ends = two(prepare("run", METHODS["baseline"]), fault)
    teller = 0 if fault == "disk" else 1
    for rank, (status, _, told) in enumerate(ends):
        (last,) = [line for line in told.splitlines() if line.startswith("error: ")]
        # A loss that is NaN is a fault of the options, which the process that meets it tells by its status.
        assert status == (errors.OF_OPTIONS if fault == "nan" and rank == teller else 2)
        assert message.split(" (")[0] in last
        assert last.startswith(f"error: process {teller} stopped: ") == (rank != teller)
        assert "Traceback" not in told


def test_a_signal_to_one_saves_and_ends_both_and_they_go_on_together(prepare, tmp_path):
    assert [status for status, *_ in two(prepare("whole", METHODS["baseline"]))] == [0, 0]
    config = prepare("broken", METHODS["baseline"])
    for status, _, told in two(config, "signal"):
        assert status == 128 + 15
        assert told.splitlines()[-1] == "stopped: SIGTERM at step 7: saved; go on with --resume"
    assert checkpoint.load(tmp_path / "broken" / "model_last.pth")["progress"]["step"] == 7
    shutil.copytree(tmp_path / "broken", tmp_path / "moved")
    assert [status for status, *_ in two(config, "resume")] == [0, 0]
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth")["model"] for name in ("whole", "broken"))
    assert all(torch.equal(value, other[name]) for name, value in one.items() if isinstance(value, torch.Tensor))
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "broken" / name).read_text()

    moved = load(config, {"OUTPUT_DIR": tmp_path / "moved"})
    with pytest.raises(ValueError, match=r"was going on 2 process\(es\), and there are 1 now.*--resume-anyway"):
        runs.train(moved, resume=True)
    note = "resumed at step 7 on 1 process(es), before on 2"
    assert [row["notes"] for row in runs.train(moved, anyway=True)] == [[note]] * 3
    again = runs.score(None, tmp_path / "moved" / "model_final.pth")
    assert [(row["notes"], row["processes"]) for row in again] == [([note], 1)] * 3


def test_one_that_is_killed_ends_the_other_in_one_line_and_they_go_on_together(prepare, tmp_path):
    assert [status for status, *_ in two(prepare("whole", METHODS["key encoder"]))] == [0, 0]
    config = prepare("broken", METHODS["key encoder"])
    (status, _, told), (killed, _, _) = two(config, "kill")
    assert (status, killed) == (2, -9)
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("error: another process ended without a word")
    assert [status for status, *_ in two(config, "resume")] == [0, 0]
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth")["model"] for name in ("whole", "broken"))
    assert all(torch.equal(value, other[name]) for name, value in one.items() if isinstance(value, torch.Tensor))
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "broken" / name).read_text()


def test_scores_are_those_of_one_process(prepare, tmp_path):
    """Of the same weights; and of weights learned alone, where a loss is a mean over pictures that know nothing of each other."""
    text = "LOSSES: [softmax]\nMODEL: {BACKBONE: {NAME: tiny}, NECK: false, FREEZE_BN: true, NORM: [input]}"
    assert [status for status, *_ in two(prepare("both", text))] == [0, 0]
    rows = lines(tmp_path / "both" / "results.jsonl")
    same_figures(rows, runs.score(None, tmp_path / "both" / "model_final.pth"), within=1e-6)
    alone = [{**row, "processes": 2} for row in runs.train(load(prepare("alone", text)))]
    same_figures(rows, alone, within=1e-3)
    same_figures(*(lines(tmp_path / name / "metrics.jsonl") for name in ("both", "alone")), within=1e-3)
