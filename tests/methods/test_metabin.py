"""MetaBIN's two steps against slow restatements; runs, half precision that overflows, and what is refused."""

import json

import pytest
import torch
from meta_cases import THREE, assert_resumed_equals_unbroken, batch, differences, stepper, triplet
from tiny_run import build
from torch import nn

from reid.builder import runs
from reid.data.samplers.meta import BASE, META_TEST, META_TRAIN
from reid.losses import Term
from reid.losses.infonce import InfoNCE
from reid.losses.triplet import Triplet
from reid.methods import Place
from reid.methods.metabin import MetaBIN, scatter
from reid.models.norms.bin import Gated
from reid.step import LossScale, Taken, phases

ROLES = (BASE, META_TRAIN, META_TRAIN, META_TEST)


class Small(nn.Module):
    """Pictures (B, 3, 2, 1) float64 -> a convolution, a gated norm, the mean over places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.dim = 4
        self.map = nn.Conv2d(3, 4, 1)
        self.norm = Gated(nn.BatchNorm2d(4))
        self.neck = nn.BatchNorm1d(4)
        self.double()
        with torch.no_grad():
            self.norm.gate.copy_(torch.tensor([1.0, 0.7, 0.4, 0.1]))
            self.norm.IN.weight.uniform_(0.5, 2)
            self.norm.IN.bias.uniform_(-1, 1)

    def forward(self, images, domains=None, camids=None):
        maps = self.norm(self.map(images)).square()  # so that the mean over places is no constant
        before = maps.mean((2, 3))
        return {"before": before, "after": self.neck(before)}


def make(**options):
    terms = [Term("triplet", Triplet()), Term("infonce", InfoNCE(), feature="after")]
    method = MetaBIN(Small(), terms, **options).train()
    method.place = Place(0, range(10), 10)
    return method


def whole(step=0):
    made = batch(ROLES)
    made.step = step
    return made


def features(encoder, gate, images):
    """`before`, by plain formulas: each channel by its batch's or its picture's own statistics."""
    maps = encoder.map(images).detach()
    of_batch = (maps - maps.mean((0, 2, 3), keepdim=True)) / (
        maps.var((0, 2, 3), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    own = (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    sides = [
        x * norm.weight[:, None, None] + norm.bias[:, None, None]
        for x, norm in ((of_batch, encoder.norm.BN), (own, encoder.norm.IN))
    ]
    gate = gate[:, None, None]
    return (gate * sides[0] + (1 - gate) * sides[1]).square().mean((2, 3))


def meta_train(encoder, gate, part):
    rows = features(encoder, gate, part.images)
    total = triplet(rows, part.classes)
    shuffle, spread = [], []
    for i in range(len(part)):
        far = max((rows[i] - rows[j]).norm() for j in range(len(part)) if part.domains[j] != part.domains[i])
        near = min(
            (rows[i] - rows[j]).norm()
            for j in range(len(part))
            if part.domains[j] == part.domains[i] and part.classes[j] != part.classes[i]
        )
        shuffle.append(torch.log(1 + (far - near).exp()))
    units = rows / rows.norm(dim=1, keepdim=True)
    for domain in set(part.domains.tolist()):
        own = units[part.domains == domain]
        middle = own.mean(0)
        spread.append(torch.stack([row @ middle / middle.norm() for row in own]).mean())
    return total + torch.stack(shuffle).mean() + sum(spread) / len(spread)


def meta_test(encoder, gate, second_order, rate):
    made = whole()
    train, test = (made.select(made.roles == role) for role in (META_TRAIN, META_TEST))
    gate = gate if gate.requires_grad else gate.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(meta_train(encoder, gate, train), gate, create_graph=True)
    moved = gate - rate * (gradient if second_order else gradient.detach())
    within = moved + (moved.clamp(0, 1) - moved).detach()
    return triplet(features(encoder, within, test.images), test.classes)


@pytest.mark.parametrize("second_order", [False, True])
def test_the_gates_step_equals_the_slow_restatement(second_order):
    """So far a step that gates are taken beyond 0 and 1, and count as these."""
    method = make(second_order=second_order, cycle_low=0.7, cycle_high=0.9)
    stepper(method, lr=0.2)  # the gates' own rate is ten times this
    gate = method.encoder.norm.gate
    *_, phase = method.phases(whole())
    assert (phase.learns, [*phase.losses]) == (["gates"], ["meta_triplet"])
    expected = meta_test(method.encoder, gate, second_order, 0.7 * 2.0)
    assert phase.losses["meta_triplet"].item() == pytest.approx(expected.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, gate)[0] for value in (phase.losses["meta_triplet"], expected)]
    assert torch.allclose(*gradients, rtol=1e-8)


def test_the_second_order_gradient_is_that_of_finite_differences():
    method = make(second_order=True, cycle_low=0.7, cycle_high=0.9)
    stepper(method, lr=0.01)
    gate = method.encoder.norm.gate
    with torch.no_grad():
        gate.copy_(torch.tensor([0.7, 0.6, 0.5, 0.4]))
    *_, phase = method.phases(whole())
    (found,) = torch.autograd.grad(phase.losses["meta_triplet"], gate)
    slow = differences(lambda g: meta_test(method.encoder, g, True, 0.07), gate.detach())
    (first,) = torch.autograd.grad(meta_test(method.encoder, gate, False, 0.07), gate)
    assert torch.allclose(found, slow, atol=1e-7)
    assert (first - slow).norm() > 0.01 * slow.norm(), "or the test would not see the second order"


def test_the_base_step_moves_all_but_the_gates_and_then_the_gates_move_alone():
    method = make()
    step = stepper(method, lr=0.5)
    before = {name: value.clone() for name, value in method.named_parameters()}
    seen = []
    for phase in method.phases(whole()):
        step(sum(phase.losses.values()), phase.learns)
        seen.append({name for name, value in method.named_parameters() if not torch.equal(value, before[name])})
    base, both = seen
    assert "encoder.norm.gate" not in base
    assert {"encoder.map.weight", "encoder.norm.IN.weight", "encoder.neck.weight"} <= base
    assert both - base == {"encoder.norm.gate"}
    assert method.encoder.norm.gate.min() >= 0
    assert method.encoder.norm.gate.max() <= 1


def test_running_statistics_see_the_base_share_alone():
    method, other = make(), make()
    stepper(method)
    for _ in method.phases(whole()):
        pass
    other.encoder(whole().select(whole().roles == BASE).images)
    assert torch.equal(method.encoder.norm.BN.running_var, other.encoder.norm.BN.running_var)


def test_the_inner_rate_goes_up_and_down():
    method = make(cycle_low=0.1, cycle_high=0.5, cycle_epochs=2)  # of ten steps
    assert [method.cycle(step) for step in (0, 5, 10, 15, 20, 30)] == pytest.approx([0.1, 0.3, 0.5, 0.3, 0.1, 0.5])


def test_before_its_start_and_while_gates_are_held_there_is_the_base_step_alone():
    method = make(start_step=3)
    stepper(method)
    assert [len(list(method.phases(whole(step)))) for step in (2, 3)] == [1, 2]
    method.encoder.norm.gate.requires_grad_(False)
    assert len(list(method.phases(whole(3)))) == 1


def test_scatter_hand_checked():
    """Two rows at a right angle: each lies 45 degrees from their mean; a domain of equal rows has a cosine of 1."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [4.0, 4.0]])
    assert scatter(rows, torch.tensor([0, 0, 1, 1])).item() == pytest.approx((0.5**0.5 + 1) / 2)


def test_one_domain_of_meta_train_has_no_shuffle_and_says_so():
    method = make()
    stepper(method)
    *_, phase = method.phases(batch((BASE, META_TRAIN, META_TEST)))
    assert phase.counts["unusable_shuffle"]
    *_, phase = method.phases(whole())
    assert not phase.counts["unusable_shuffle"]


@pytest.mark.parametrize("huge", [0, 1, 2])
def test_overflow_in_either_step_of_fp16_ends_the_batch(monkeypatch, huge):
    """The triplet of the base step, of the inner step or of meta-test."""
    monkeypatch.setattr(LossScale, "START", 2.0**8)
    method = MetaBIN(Small().float(), [Term("triplet", Triplet())]).train()
    step, calls, real = stepper(method, fp16=True), iter(range(9)), Triplet.forward
    monkeypatch.setattr(Triplet, "forward", lambda *a: real(*a) * (1e38 if next(calls) == huge else 1))
    gate, weight = (value.clone() for value in (method.encoder.norm.gate, method.encoder.map.weight))
    made, taken = whole(), Taken()
    made.images = made.images.float()
    for phase in phases(method, made, None):
        taken.norms.append(step(taken.add(phase), phase.learns))
        if not taken.norms[-1].isfinite():
            break
    assert not taken.norms[-1].isfinite()
    assert step.scale.value == 2.0**7
    assert torch.equal(method.encoder.norm.gate, gate)
    assert torch.equal(method.encoder.map.weight, weight) == (huge == 0)


RUN = {"METHOD.NAME": "metabin", "SAMPLER.NAME": "base_and_meta", "MODEL.NORM": "[bin]", "DATALOADER.BATCH_SIZE": "32"}


@pytest.mark.parametrize(
    "overrides",
    [
        {"LOSSES": "[softmax, triplet]", "SOLVER.OPTIMIZER": "sgd", "METHOD.GATE_MOMENTUM": "0", "SOLVER.LR": "0.01"},
        {"LOSSES": "[am_softmax, circle]", "MEMORY.SIZE": "40", "SOLVER.AMP": "bf16"},
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tiny_world, tmp_path, monkeypatch, overrides):
    lines = assert_resumed_equals_unbroken(
        tiny_world, tmp_path, monkeypatch, {**RUN, "SOLVER.MAX_STEPS": "6", **overrides}
    )
    assert {"meta_triplet", "loss"} <= json.loads(lines[-1]).keys()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MODEL.NORM": "[]"}, r"metabin: found no gates in the encoder; expected some: add bin to MODEL\.NORM"),
        ({"DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]"}, r"sampler base_and_meta: found 1 source\(s\)"),
        (
            {"SOLVER.ACCUMULATE": "2"},
            r"SOLVER\.ACCUMULATE is 2, and METHOD metabin takes several steps a batch; expected 1",
        ),
        ({"SAMPLER.NAME": "meta"}, r"methods\.metabin: SAMPLER is meta; expected base_and_meta"),
    ],
)
def test_what_it_cannot_do_is_refused_before_there_is_a_run(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**THREE, **RUN, "LOSSES": "[softmax]", **overrides}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
