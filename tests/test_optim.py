"""The learning rate as a function of the step, and parameter groups."""

import pytest
import torch

from reid import optim


def test_warm_up_is_linear_and_steps_multiply():
    factor = optim.schedule(
        name="step", steps_per_epoch=10, num_steps=60, milestones=[2, 4], gamma=0.1, warmup_steps=5, warmup_factor=0.2
    )
    assert [factor(s) for s in (0, 5, 19)] == [0.2, 1.0, 1.0]
    assert factor(1) == pytest.approx(0.36)
    assert factor(20) == pytest.approx(0.1)
    assert factor(40) == pytest.approx(0.01)


def test_cosine_falls_from_one_to_zero_and_constant_stays():
    cosine = optim.schedule(name="cosine", steps_per_epoch=10, num_steps=30, warmup_steps=10, warmup_factor=0.0)
    assert [cosine(s) for s in (0, 10, 20, 30)] == pytest.approx([0, 1, 0.5, 0])
    assert optim.schedule(name="constant", steps_per_epoch=10, num_steps=30)(29) == 1


@pytest.mark.parametrize("name", optim.NAMES)
def test_groups_have_their_own_rate_and_decay(name):
    one, two = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    groups = [
        {"name": "encoder", "params": [one]},
        {"name": "proxies", "params": [two], "lr_factor": 100.0, "weight_decay": 0.0},
    ]
    made = optim.optimizer(groups, name=name, lr=0.01, weight_decay=0.1)
    assert optim.set_lr(made, 0.5) == pytest.approx(0.005)
    assert [g["lr"] for g in made.param_groups] == pytest.approx([0.005, 0.5])
    assert [g["weight_decay"] for g in made.param_groups] == [0.1, 0.0]


def test_eps_reaches_the_optimisers_that_have_one():
    groups = [{"name": "encoder", "params": [torch.nn.Parameter(torch.ones(1))]}]
    for name in ("adam", "adamw"):
        assert optim.optimizer(groups, name=name, lr=0.01, weight_decay=0, eps=0.5).param_groups[0]["eps"] == 0.5


def test_unknown_names_and_too_long_warm_up_are_refused():
    with pytest.raises(ValueError, match="no lamb; there are adam"):
        optim.optimizer([], name="lamb", lr=1, weight_decay=0)
    with pytest.raises(ValueError, match="no poly; there are step"):
        optim.schedule(name="poly", steps_per_epoch=1, num_steps=1)
    with pytest.raises(ValueError, match="WARMUP_STEPS is 30"):
        optim.schedule(name="step", steps_per_epoch=1, num_steps=30, warmup_steps=30)


def test_groups_have_their_own_momentum_clip_and_schedule():
    one, two = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    own = {"momentum": 0.5, "clip": 2.0, "schedule": lambda step: 0.25, "local": True}
    groups = [{"name": "encoder", "params": [one]}, {"name": "gate", "params": [two], **own}]
    made = optim.optimizer(groups, name="sgd", lr=0.01, weight_decay=0.1)
    assert [g["momentum"] for g in made.param_groups] == [0.9, 0.5]
    assert [(g.get("clip"), g.get("local")) for g in made.param_groups] == [(None, None), (2.0, True)]
    optim.set_lr(made, 0.5, {"gate": 0.25})
    assert [g["lr"] for g in made.param_groups] == pytest.approx([0.005, 0.0025])
    assert not any(callable(value) for g in made.param_groups for value in g.values()), "checkpoints hold plain values"


def test_groups_that_cannot_be_are_refused():
    weight = [torch.nn.Parameter(torch.ones(1))]
    for more, message in (
        ({"momentum": 0.5}, "gate: found a momentum, which OPTIMIZER adam has not"),
        ({"decay": 0.5}, "gate: found decay; expected some of name, params, lr_factor"),
    ):
        with pytest.raises(ValueError, match=message):
            optim.optimizer([{"name": "gate", "params": weight, **more}], name="adam", lr=1, weight_decay=0)
    with pytest.raises(ValueError, match="gate: found the name twice"):
        optim.optimizer([{"name": "gate", "params": weight}] * 2, name="adam", lr=1, weight_decay=0)


def test_amsgrad_equals_a_slow_loop_and_never_forgets_the_largest_second_moment():
    weight, rng = torch.nn.Parameter(torch.ones(4)), torch.Generator().manual_seed(0)
    made = optim.optimizer([{"name": "w", "params": [weight]}], name="amsgrad", lr=0.01, weight_decay=0.1)
    slow = torch.ones(4, dtype=torch.float64)
    first, second, largest = (torch.zeros(4, dtype=torch.float64) for _ in range(3))
    for step in range(1, 21):
        weight.grad = torch.randn(4, generator=rng) * (10 if step == 1 else 0.1)
        gradient = weight.grad.double() + 0.1 * slow
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        largest = torch.maximum(largest, second)
        slow = slow - 0.01 * (first / (1 - 0.9**step)) / ((largest / (1 - 0.999**step)).sqrt() + 1e-8)
        made.step()
    torch.testing.assert_close(weight.detach().double(), slow, rtol=1e-5, atol=1e-6)
    assert (second < largest).any(), "else it is Adam"
