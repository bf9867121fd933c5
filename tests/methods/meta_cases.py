"""What the tests of the meta-learning methods start from: a linear encoder in float64, batches with roles, runs that are broken."""

import pytest
import torch
from tiny_run import build
from torch import nn

from reid import checkpoint, errors, optim
from reid.builder import runs
from reid.data.loader import Batch
from reid.data.samplers.meta import META_TEST, META_TRAIN
from reid.step import Step

SOURCES = "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}, {NAME: folder, PATH: target, AS: source_c}]"
THREE = {"DATASETS.SOURCES": SOURCES, "DATALOADER.BATCH_SIZE": "24", "SOLVER.EPOCHS": "1"}


class Linear(nn.Module):
    """(B, 3, 2, 1) float64 -> `before`, (B, dim) linear, and `after`, which is BatchNorm of it."""

    def __init__(self, dim=4):
        super().__init__()
        torch.manual_seed(0)
        self.dim = dim
        self.reduce = nn.Linear(6, dim, bias=False, dtype=torch.float64)
        self.neck = nn.BatchNorm1d(dim, dtype=torch.float64)

    def forward(self, images, domains=None, camids=None):
        before = self.reduce(images.flatten(1))
        return {"before": before, "after": self.neck(before)}


def batch(roles=(META_TRAIN, META_TRAIN, META_TEST), ids=3, seed=1):
    """Of each role a domain of its own, with `ids` identities of two pictures."""
    rows = 2 * ids * len(roles)
    images = torch.randn(rows, 3, 2, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    number, zeros = torch.arange(rows), torch.zeros(rows, dtype=torch.int64)
    domains = number // (2 * ids)
    return Batch(images, number // 2, zeros, domains, number, zeros, torch.tensor(roles)[domains], ["x"] * rows)


def stepper(method, lr=0.1, **options):
    return Step(method, optim.optimizer(method.param_groups(), name="sgd", lr=lr, weight_decay=0), **options)


def triplet(rows, classes, margin=0.3):
    """Batch-hard, by a loop."""
    total, num = 0.0, len(rows)
    for i in range(num):
        distances = [(rows[i] - rows[j]).norm() for j in range(num)]
        positives = [distances[j] for j in range(num) if j != i and classes[j] == classes[i]]
        negatives = [distances[j] for j in range(num) if classes[j] != classes[i]]
        total = total + (max(positives) - min(negatives) + margin).clamp_min(0)
    return total / num


def differences(function, value, size=1e-6):
    """The gradient of a scalar function of one tensor by central differences."""
    found = torch.zeros_like(value)
    for place in range(value.numel()):
        shift = torch.zeros_like(value).flatten()
        shift[place] = size
        shift = shift.view_as(value)
        found.view(-1)[place] = (function(value + shift) - function(value - shift)) / (2 * size)
    return found


def assert_resumed_equals_unbroken(tiny_world, folder, monkeypatch, overrides, stop=4):
    """A run that ends before its batch number `stop`, in the middle of its first epoch, and goes on; what it leaves scores as it did.

    Returns the lines of the log.
    """

    def cfg(name):
        return build(tiny_world, folder / name, {**THREE, "SOLVER.CHECKPOINT_STEPS": "1", **overrides})

    rows = runs.train(cfg("whole"))
    real, steps, end = optim.set_lr, iter(range(100)), errors.InterruptedRun(15, "here")

    def set_lr(*args):
        if next(steps) == stop:
            raise end
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(optim, "set_lr", set_lr)
        with pytest.raises(errors.InterruptedRun):
            runs.train(cfg("broken"))
    assert checkpoint.load(folder / "broken" / "model_last.pth")["progress"]["batch"] == stop
    assert runs.train(cfg("broken"), resume=True) == rows
    one, other = (checkpoint.load(folder / name / "model_last.pth")["model"] for name in ("whole", "broken"))
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name
    lines = [(folder / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert lines[0] == lines[1]
    assert runs.score(None, folder / "whole" / "model_final.pth")[-1]["mAP"] == rows[-1]["mAP"]
    return lines[0].splitlines()
