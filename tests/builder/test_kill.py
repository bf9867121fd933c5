"""A run that is killed again and again, from outside and without warning, ends as an unbroken one does."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from reid import checkpoint

ROOT = Path(__file__).resolve().parents[2]
WORLD = [
    *("DATASETS.SOURCES", "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]"),
    *(
        "DATASETS.TARGETS",
        "[{NAME: folder, PATH: target}]",
        "MODEL.BACKBONE.NAME",
        "tiny",
        "MODEL.NORM",
        "[input]",
    ),
    *(
        "INPUT.SIZE",
        "[64, 32]",
        "INPUT.AUGMENT.1.PAD",
        "4",
        "INPUT.AUGMENT.2",
        "erasing",
        "DATALOADER.BATCH_SIZE",
        "32",
    ),
    *("LOSSES", "[softmax, triplet]", "MEMORY.SIZE", "100", "MEMORY.START_STEP", "30", "TEST.EVERY", "4"),
    *("SOLVER.EPOCHS", "200", "SOLVER.CHECKPOINT_STEPS", "10", "SOLVER.LOG_STEPS", "1", "SOLVER.SCHEDULE", "cosine"),
]


def start(config: Path, folder: Path, world: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "tools/train_net.py", "--config", str(config), *more]
    command += ["OUTPUT_DIR", str(folder), "DATASETS.ROOT", str(world), *WORLD, "SOLVER.MAX_STEPS", "300"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def steps_taken(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_five_kills_leave_weights_and_results_bit_for_bit(tiny_world, tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text("SEED: 3\n")
    assert start(config, tmp_path / "whole", tiny_world).wait() == 0
    total = steps_taken(tmp_path / "whole")
    choose = random.Random(0)
    kills = sorted(choose.sample(range(5, total - 5), 5))
    for number, step in enumerate(kills):
        process = start(config, tmp_path / "broken", tiny_world, *(["--resume"] if number else []))
        while steps_taken(tmp_path / "broken") < step:
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed at step {steps_taken(tmp_path / 'broken')}")
    assert start(config, tmp_path / "broken", tiny_world, "--resume").wait() == 0
    whole, broken = (checkpoint.load(tmp_path / name / "model_final.pth") for name in ("whole", "broken"))
    for key, value in whole["model"].items():
        assert torch.equal(value, broken["model"][key]) if isinstance(value, torch.Tensor) else True, key
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "broken" / name).read_text(), name
