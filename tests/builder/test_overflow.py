"""fp16 that overflows at every step: counted, written as JSON, and ended."""

import json

import pytest
from tiny_run import build

from reid import checkpoint, trainer
from reid.builder import objects, runs


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture
def start(tiny_world, tmp_path, monkeypatch):
    """A function that trains in fp16 by a finite loss whose gradient is none."""
    softmax = objects.find("losses", "softmax")
    real = softmax.forward
    monkeypatch.setattr(softmax, "forward", lambda self, e, y: real(self, e, y) + (e * 0).sum().sqrt())
    fp16 = {"LOSSES": "[softmax]", "SOLVER.AMP": "fp16", "SOLVER.EPOCHS": "9", "SOLVER.CHECKPOINT_STEPS": "3"}

    def run(folder="run", resume=False, **more):
        return runs.train(build(tiny_world, tmp_path / folder, fp16 | more), resume=resume)

    return run


def test_a_run_that_only_skips_ends_whether_resumed_or_not(start, tmp_path, caplog):
    message = r"step 19: 20 batches in a row were skipped.*loss scale of 0\.0625; .*model_last\.pth is kept.*bf16"
    with pytest.raises(trainer.NonFiniteLoss, match=message):
        start()
    assert "fp16 on a CPU takes many times as long" in caplog.text
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    rows = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert [row["skipped"] for row in rows] == list(range(1, 21))
    assert "grad_norm" not in rows[0]
    progress = checkpoint.load(tmp_path / "run" / "model_last.pth")["progress"]
    assert (progress["skipped"], progress["in_a_row"]) == (18, 18)
    with pytest.raises(trainer.NonFiniteLoss, match="step 19: 20 batches in a row"):
        start(resume=True)


def test_a_short_run_of_which_every_batch_was_skipped_ends(start):
    with pytest.raises(trainer.NonFiniteLoss, match="step 1: 2 batches in a row"):
        start(**{"SOLVER.MAX_STEPS": "2"})
