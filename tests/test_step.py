"""Phases: what moves, what stays, what an overflow ends; the loss scale and clipping against torch's own."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reid import optim
from reid.methods import Method, Phase
from reid.step import LossScale, Step, Taken, clip, phases

BATCH = SimpleNamespace(images=torch.linspace(-1, 1, 12).reshape(4, 3))


class TwoLayers(Method):
    """Two phases, which learn one layer each from the output of both; `huge` makes the loss of one of them overflow."""

    def __init__(self, huge: str = "", **options):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)
        self.huge, self.options, self.seen = huge, options, []

    def loss(self, name: str):
        value = self.second(self.first(BATCH.images)).square().sum()
        return {name: value * (1e37 if name == self.huge else 1)}

    def phases(self, batch):
        self.seen.append("start")
        yield Phase(self.loss("one"), learns=["first"], keep={"a": torch.ones(4)}, counts={"odd": torch.tensor(True)})
        self.seen.append("between")
        yield Phase(self.loss("two"), learns=["second"], keep={"b": torch.ones(4)})
        self.seen.append(("end", self.second.weight.detach().clone()))

    def param_groups(self):
        groups = [{"name": name, "params": [*getattr(self, name).parameters()]} for name in ("first", "second")]
        return [{**group, **self.options.get(group["name"], {})} for group in groups]


def stepper(method: Method, fp16: bool = False, clip_grad: float = 0.0) -> Step:
    made = optim.optimizer(method.param_groups(), name="sgd", lr=0.01, weight_decay=0.1)
    return Step(method, made, clip_grad=clip_grad, fp16=fp16)


def run(method: Method, step: Step) -> Taken:
    """What the trainer does with one batch."""
    taken = Taken()
    for phase in phases(method, BATCH, None):
        total = taken.add(phase)
        taken.norms.append(step(total, phase.learns))
        if not taken.norms[-1].isfinite():
            taken.skipped = True
            break
    return taken


def test_each_phase_sees_the_step_before_and_moves_its_own_groups():
    method, plain = TwoLayers(), TwoLayers()
    step = stepper(method)
    momentum = {}
    for _ in range(2):  # a second batch, so that momentum would move what does not learn
        taken = run(method, step)
        for name, layer in (("one", plain.first), ("two", plain.second)):
            gradients = torch.autograd.grad(plain.loss(name)[name], list(layer.parameters()))
            for p, gradient in zip(layer.parameters(), gradients, strict=True):
                momentum[p] = 0.9 * momentum.get(p, 0) + gradient + 0.1 * p.detach()
                p.data -= 0.01 * momentum[p]
        for p, expected in zip(method.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(p, expected, atol=1e-6)
    assert list(taken.losses) == ["one", "two"]
    assert list(taken.keep) == ["a", "b"]
    assert float(taken.total) == pytest.approx(sum(value.item() for value in taken.losses.values()))
    end, weight = method.seen[-1]
    assert end == "end"
    assert torch.equal(weight, method.second.weight), (
        "what stands after the last yield sees the weights as they are now"
    )


def test_what_does_not_learn_has_no_gradient():
    method = TwoLayers()
    step = stepper(method)
    run(method, step)
    assert all(p.grad is None for p in method.first.parameters())
    assert all(p.grad is not None for p in method.second.parameters())
    step(method.loss("one")["one"])
    assert all(p.grad is not None for p in method.parameters())


def test_equal_names_unknown_groups_and_nothing_to_learn_are_refused():
    one, more = Phase({"a": torch.ones(())}, keep={"k": torch.ones(1)}), {"keep": {"k": torch.ones(1)}}
    for second, name in ((Phase({"a": torch.ones(())}), "a"), (Phase({"b": torch.ones(())}, **more), "k")):
        taken = Taken()
        taken.add(one)
        with pytest.raises(ValueError, match=f"found {name} in two phases"):
            taken.add(second)
    with pytest.raises(ValueError, match="without losses"):
        Taken().add(Phase({}))
    method = TwoLayers()
    with pytest.raises(ValueError, match="no parameter group third, fourth; there are first, second"):
        stepper(method)(method.loss("one")["one"], ["first", "third", "fourth"])


@pytest.mark.parametrize("huge", ["one", "two"])
def test_an_overflow_moves_nothing_and_ends_the_batch(huge):
    method = TwoLayers(huge)
    step = stepper(method, fp16=True)
    before = copy.deepcopy(method.state_dict())
    taken = run(method, step)
    assert taken.skipped
    assert step.scale.value == LossScale.START / 2
    assert len(method.seen) == (1 if huge == "one" else 2)
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == (set() if huge == "one" else {"first.weight", "first.bias"})
    method.huge = ""
    assert not run(method, step).skipped


def test_the_loss_scale_is_that_of_torch(monkeypatch):
    monkeypatch.setattr(LossScale, "PATIENCE", 10)
    ours, theirs = LossScale(True), torch.amp.GradScaler("cpu", growth_interval=10)
    assert theirs.scale(torch.ones(())).item() == ours.value
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(200):
        overflow = torch.rand((), generator=generator).item() < 0.1
        weight.grad = torch.full((1,), math.inf if overflow else 1.0)
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        ours.update(finite=not overflow)
        found.append(ours.value)
        assert ours.value == theirs.get_scale()
    assert found != sorted(found, reverse=True), "it grew again"


def test_scaled_steps_are_those_of_the_plain_loss():
    one, other = TwoLayers(), TwoLayers()
    run(one, stepper(one, fp16=True, clip_grad=0.1))
    run(other, stepper(other, clip_grad=0.1))
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_inner_gradients_survive_half_precision_and_their_overflow_skips_the_step():
    method = TwoLayers()
    step = stepper(method, fp16=True)
    weight = method.first.weight
    small = 1e-8 * weight.half().float().sum()  # its gradient is below what fp16 holds
    assert not torch.autograd.grad(small, weight, retain_graph=True)[0].any()
    (found,) = method.inner_grad(small, [weight])
    assert torch.allclose(found, torch.full_like(weight, 1e-8), rtol=1e-3)
    assert not step.scale.overflowed
    method.inner_grad(1e37 * method.first(BATCH.images).sum(), [weight])
    assert step.scale.overflowed
    norm = step(method.loss("one")["one"])
    assert not norm.isfinite()
    assert step.scale.value == LossScale.START / 2
    assert not step.scale.overflowed, "the next phase starts anew"


def test_groups_are_clipped_each_by_its_own_norm_and_the_rest_together():
    parameters = [nn.Parameter(torch.zeros(n)) for n in (3, 4, 5)]
    generator = torch.Generator().manual_seed(0)
    gradients = [10 * torch.randn(p.shape, generator=generator) for p in parameters]
    for extra, limits in (
        ([{}, {"clip": 2.0}, {}], [1.0, 2.0, 1.0]),
        ([{}, {"clip": 0}, {}], [1.0, None, 1.0]),
        ([{"local": True}, {"clip": 2.0}, {}], [1.0, 2.0, 1.0]),
    ):
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient.clone()
        norm = clip([{"params": [p], **more} for p, more in zip(parameters, extra, strict=True)], 1.0)
        assert norm.item() == pytest.approx(torch.cat(gradients).norm().item(), rel=1e-6)
        rest = torch.cat([gradients[0], gradients[2]]).norm()
        for p, gradient, limit in zip(parameters, gradients, limits, strict=True):
            whole = rest if limit == 1.0 else gradient.norm()
            assert torch.allclose(p.grad, gradient * (limit / whole if limit else 1), rtol=1e-5)


def test_a_small_gradient_is_not_clipped():
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([0.3, 0.4])
    assert clip([{"params": [weight]}], 1.0).item() == pytest.approx(0.5)
    assert weight.grad.tolist() == pytest.approx([0.3, 0.4])


def test_groups_of_one_name_learn_and_are_clipped_together():
    """As many as rates fall with depth: a phase that learns a name learns all of them, and one norm is clipped."""
    method, whole = (TwoLayers(first={"clip": 0.5}) for _ in range(2))
    factors = dict.fromkeys([method.first.bias], 0.5)
    made = optim.optimizer(method.param_groups(), name="sgd", lr=0.01, weight_decay=0.1, factors=factors)
    split = Step(method, made)
    assert [group["name"] for group in made.param_groups] == ["first", "first", "second"]
    start = method.first.bias.detach().clone(), method.second.weight.detach().clone()
    norms = [step(each.loss("one")["one"], ["first"]) for each, step in ((method, split), (whole, stepper(whole)))]
    torch.testing.assert_close(*norms)
    torch.testing.assert_close(method.first.weight, whole.first.weight)
    torch.testing.assert_close(method.first.bias - start[0], (whole.first.bias - start[0]) / 2)
    assert torch.equal(method.second.weight, start[1])


@pytest.mark.parametrize("fp16", [False, True])
def test_parts_add_up_to_the_step_of_the_whole(fp16):
    """Half of a loss and its other half; the gradients before them are forgotten, those between are not."""
    method, whole = TwoLayers(), TwoLayers()
    parts, one = stepper(method, fp16), stepper(whole, fp16)
    for _ in range(2):
        parts.gather(method.loss("one")["one"] / 4)
        assert torch.equal(method.first.weight, whole.first.weight)  # nothing has moved yet
        norms = parts(method.loss("one")["one"] * 3 / 4), one(whole.loss("one")["one"])
        torch.testing.assert_close(*norms)
        for mine, theirs in zip(method.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs)
        whole.load_state_dict(method.state_dict())
    before = method.first.weight.clone()
    parts.gather(method.loss("one")["one"] * math.inf)
    assert not parts(method.loss("two")["two"]).isfinite()  # what overflows in one part, does in the whole
    assert torch.equal(method.first.weight, before)


def test_what_parts_come_to_is_means_rows_and_sums():
    found = []
    for number in (1.0, 3.0):
        found.append(Taken())
        loss, count = {"a": torch.tensor(number)}, {"odd": torch.tensor(number > 2)}
        found[-1].add(Phase(loss, keep={"rows": torch.full((2,), number)}, counts=count))
    taken = Taken.mean(found)
    assert (taken.losses, float(taken.total)) == ({"a": torch.tensor(2.0)}, 2.0)
    assert taken.keep["rows"].tolist() == [1, 1, 3, 3]
    assert taken.counts == {"odd": torch.tensor(1)}
