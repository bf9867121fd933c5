"""A method of two steps per batch from a file of its own: gradients, half precision, whole runs."""

import json

import pytest
import torch
from tiny_run import build
from two_phases import TwoPhases

from reid import checkpoint, errors, optim
from reid.builder import runs
from reid.data.loader import Batch
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics
from reid.step import LossScale, Step, Taken, phases


def make() -> TwoPhases:
    torch.manual_seed(0)
    method = TwoPhases(Encoder("tiny"), num_classes=4, inner_lr=5.0)
    torch.nn.init.normal_(method.gates, std=0.1)
    torch.nn.init.normal_(method.classifier.weight, std=0.1)  # so that the inner step is worth something
    return method.train()


def batch() -> Batch:
    images = torch.randint(256, (8, 3, 32, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    zeros = torch.zeros(8, dtype=torch.int64)
    return Batch(images, torch.arange(8) % 4, zeros, zeros, torch.arange(8), zeros, zeros, ["x"] * 8)


def stepper(method: TwoPhases, fp16: bool = False) -> Step:
    return Step(method, optim.optimizer(method.param_groups(), name="sgd", lr=1e-4, weight_decay=0), fp16=fp16)


def test_second_order_gradient_is_that_of_finite_differences():
    method = make()
    gates = method.gates.detach().double()
    step = stepper(method)
    step.groups["gates"][0]["clip"] = 0
    assert [*go(method, step).losses] == ["base", "meta"]
    with hold_statistics(method.encoder), torch.no_grad():
        features = method.encoder(batch().images)["after"].double()
    weight, classes = method.classifier.weight.detach().double(), batch().classes

    def loss(gates, half):
        scores = features[half] * (1 + gates.tanh()) @ weight.T
        return torch.nn.functional.cross_entropy(scores, classes[half])

    def inner(gates):
        leaf = gates.clone().requires_grad_(True)
        return torch.autograd.grad(loss(leaf, slice(0, 4)), leaf)[0]

    def meta(gates):
        return loss(gates - method.inner_lr * inner(gates), slice(4, 8))

    steps = 1e-5 * torch.eye(len(gates), dtype=torch.float64)
    expected = torch.stack([(meta(gates + h) - meta(gates - h)) / 2e-5 for h in steps])
    leaf, shift = gates.clone().requires_grad_(True), method.inner_lr * inner(gates)
    (first_order,) = torch.autograd.grad(loss(leaf - shift, slice(4, 8)), leaf)
    assert (method.gates.grad - expected).norm() < 1e-3 * expected.norm()
    assert (first_order - expected).norm() > 0.1 * expected.norm(), "or the test would not see the second order"


@pytest.mark.parametrize("huge", ["base", "inner", "meta"])
def test_overflow_in_either_phase_of_fp16_ends_the_batch(monkeypatch, huge):
    monkeypatch.setattr(LossScale, "START", 2.0**8)  # small enough for everything but the huge one
    method, calls = make(), iter(["base", "inner", "meta"] * 2)
    real, armed = method.classifier.forward, [True]
    monkeypatch.setattr(
        method.classifier, "forward", lambda *a: real(*a) * (1e37 if next(calls) == huge and armed[0] else 1)
    )
    step = stepper(method, fp16=True)
    before = {name: value.clone() for name, value in method.state_dict().items() if "running" not in name}
    taken = go(method, step, torch.float16)
    assert taken.skipped
    assert step.scale.value == LossScale.START / 2
    changed = {
        name.partition(".")[0] for name, value in before.items() if not torch.equal(method.state_dict()[name], value)
    }
    assert changed - {"encoder"} == (set() if huge == "base" else {"classifier"})
    armed[0] = False
    calls = iter(["base", "inner", "meta"])
    assert not go(method, step, torch.float16).skipped
    assert not torch.equal(method.gates, before["gates"])


def go(method, step, precision=None) -> Taken:
    """The phases as the trainer takes them."""
    taken = Taken()
    for phase in phases(method, batch(), precision):
        total = taken.add(phase)
        assert total.isfinite() or step.scale.overflowed
        taken.norms.append(step(total, phase.learns))
        if not taken.norms[-1].isfinite():
            taken.skipped = True
            break
    return taken


@pytest.mark.parametrize("amp", ["off", "fp16"])
def test_a_run_of_it_stopped_and_resumed_equals_an_unbroken_one(tiny_world, tmp_path, monkeypatch, amp):
    def cfg(folder):
        return build(
            tiny_world,
            tmp_path / folder,
            {"METHOD": "{NAME: two_phases:TwoPhases}", "SOLVER.AMP": amp, "SOLVER.CLIP_GRAD": "5"},
        )

    monkeypatch.setattr(LossScale, "START", 2.0**22)  # in fp16 the first batches overflow
    rows = runs.train(cfg("whole"))
    real, steps = optim.set_lr, iter(range(100))
    stop = errors.InterruptedRun(15, "here")

    def set_lr(*args):
        if next(steps) == 13:
            raise stop
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)
    with pytest.raises(errors.InterruptedRun):
        runs.train(cfg("broken"))
    monkeypatch.setattr(optim, "set_lr", real)
    assert runs.train(cfg("broken"), resume=True) == rows
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth") for name in ("whole", "broken"))
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name
    assert str(one["progress"]) == str(other["progress"])
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert lines[0] == lines[1]
    last = json.loads(lines[0].splitlines()[-1])
    skipped = last.get("skipped", 0)
    assert (0 < skipped < 13) if amp == "fp16" else not skipped
    assert last["meta_steps"] == 20 - skipped
    assert one["model"]["seen"] == 16 * (20 - skipped)
    assert {"base", "meta"} <= last.keys()


def test_in_parts_it_is_refused_before_a_run(tiny_world, tmp_path, monkeypatch):
    """Or at its first step, where a method does not say that it takes several."""
    more = {"METHOD": "{NAME: two_phases:TwoPhases}", "SOLVER.ACCUMULATE": "2"}
    for told, folder in ((True, False), (False, True)):
        monkeypatch.setattr(TwoPhases, "several_steps", told)
        with pytest.raises(
            ValueError, match=r"SOLVER\.ACCUMULATE is 2, and .*TwoPhases takes several steps a batch; expected 1"
        ):
            runs.train(build(tiny_world, tmp_path / "run", more))
        assert (tmp_path / "run").exists() == folder
        assert not (tmp_path / "run" / "model_last.pth").exists()
